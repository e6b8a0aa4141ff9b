using System.Globalization;

namespace Crm.Runner.Cdnow;

/// <summary>One line of the purchase log: what one customer paid on one day.</summary>
/// <param name="Line">Line number, from 1; the order's external id.</param>
/// <param name="AmountMinor">US cents.</param>
public sealed record CdnowPurchase(int Line, DateOnly Day, int Discs, long AmountMinor);

/// <summary>A customer of the log with the name and address of a FEBRL original.</summary>
public sealed record CdnowCustomer(
    string Id,
    string? GivenName,
    string? FamilyName,
    IReadOnlyList<string> AddressLines,
    string? City,
    string? PostalCode,
    DateOnly? BirthDate,
    IReadOnlyList<CdnowPurchase> Purchases)
{
    /// <summary>Made, and unique.</summary>
    public string Email => $"cdnow-{Id}@customers.example";
}

/// <summary>
/// The CDNOW purchase log (2,357 customers, 6,919 purchases, $244,091.94; B. Hardie) with people of FEBRL's
/// second data set; see SOURCES.md of the shared data.
/// </summary>
public static class CdnowData
{
    public const string Purchases = "data/CDNOW_sample.txt";
    public const string People = "data/febrl2.csv";

    /// <summary>The first <paramref name="take"/> customers, or all, each with their purchases in the order of the log.</summary>
    public static IReadOnlyList<CdnowCustomer> Read(string shared, int? take = null)
    {
        var purchases = File.ReadLines(Require(shared, Purchases))
            .Select((text, index) => (Fields: text.Split(' ', StringSplitOptions.RemoveEmptyEntries), Line: index + 1))
            .Where(l => l.Fields.Length == 5)
            .Select(l => (Customer: l.Fields[1].TrimStart('0'), Purchase: new CdnowPurchase(
                l.Line,
                DateOnly.ParseExact(l.Fields[2], "yyyyMMdd", CultureInfo.InvariantCulture),
                int.Parse(l.Fields[3], CultureInfo.InvariantCulture),
                (long)(decimal.Parse(l.Fields[4], CultureInfo.InvariantCulture) * 100))))
            .GroupBy(p => p.Customer, p => p.Purchase);
        var people = File.ReadLines(Require(shared, People)).Skip(1)
            .Select(text => text.Split(',', StringSplitOptions.TrimEntries))
            .Where(f => f[0].EndsWith("-org", StringComparison.Ordinal) && f[1].Length + f[2].Length > 0);
        return [.. purchases.Zip(people, Combine).Take(take ?? int.MaxValue)];
    }

    private static CdnowCustomer Combine(IGrouping<string, CdnowPurchase> customer, string[] person) => new(
        customer.Key,
        NullIfEmpty(person[1]),
        NullIfEmpty(person[2]),
        [.. new[] { $"{person[3]} {person[4]}".Trim(), person[5] }.Where(l => l.Length > 0)],
        NullIfEmpty(person[6]),
        NullIfEmpty(person[7]),
        // FEBRL's generator makes days that no calendar has; those are left out.
        DateOnly.TryParseExact(person[9], "yyyyMMdd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day) ? day : null,
        [.. customer]);

    private static string Require(string shared, string file)
    {
        var path = Path.Combine(shared, file);
        return File.Exists(path) ? path : throw new RunnerException($"{file} is not under {shared}.", "Name the folder of the published data in CRM_SHARED.");
    }

    private static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;
}

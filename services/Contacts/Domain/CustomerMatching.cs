using System.Globalization;
using Crm.Contacts.Domain.Matching;

namespace Crm.Contacts.Domain;

/// <summary>A customer as the matching engine is told about it.</summary>
internal static class CustomerMatching
{
    public static MatchFields ToMatchFields(this CustomerInput input, Guid id) => new()
    {
        Id = id,
        Organization = input.Kind == CustomerKind.Organization,
        GivenName = input.GivenName,
        FamilyName = input.FamilyName,
        Name = input.Name,
        BirthDate = Digits(input.BirthDate),
        Addresses = input.Addresses.ToMatchAddresses(),
        Emails = [.. (input.Emails ?? []).Select(e => e.Address)],
        Phones = [.. (input.Phones ?? []).Select(p => p.Number)],
        ExternalIds = [.. (input.ExternalIds ?? []).Select(e => (e.System!, e.Id!))],
    };

    public static IReadOnlyList<MatchAddress> ToMatchAddresses(this IEnumerable<Address>? addresses) =>
        [.. (addresses ?? []).Select(a => new MatchAddress(a.Lines ?? [], a.City, a.PostalCode, a.Country))];

    public static string? Digits(DateOnly? date) => date?.ToString("yyyyMMdd", CultureInfo.InvariantCulture);

    /// <summary>The keys that are stored. External ids make none: no two customers have the same.</summary>
    public static long[] MatchKeysOf(MatchFields fields) => BlockingKeys.Of(MatchRecord.Of(fields with { ExternalIds = [] }));
}

using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Matching;
using Crm.Hosting.Web;
using Npgsql;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>Customers as the matching engine is told about them, straight from their rows.</summary>
internal static class MatchRows
{
    /// <summary>What <see cref="Read"/> reads, of <c>customers c</c>.</summary>
    public const string Columns = """
        c.id, c.kind, c.given_name, c.family_name, c.name, c.birth_date, c.emails, c.phones, c.addresses,
        ARRAY(SELECT e.system FROM external_ids e WHERE e.customer_id = c.id ORDER BY e.system, e.external_id),
        ARRAY(SELECT e.external_id FROM external_ids e WHERE e.customer_id = c.id ORDER BY e.system, e.external_id)
        """;

    /// <summary>How many columns those are.</summary>
    public const int Width = 11;

    public static MatchFields Read(NpgsqlDataReader row) => new()
    {
        Id = row.GetGuid(0),
        Organization = row.GetString(1) == "organization",
        GivenName = Text(row, 2),
        FamilyName = Text(row, 3),
        Name = Text(row, 4),
        BirthDate = row.IsDBNull(5) ? null : CustomerMatching.Digits(row.GetFieldValue<DateOnly>(5)),
        Emails = [.. List<Email>(row, 6).Select(e => e.Address)],
        Phones = [.. List<Phone>(row, 7).Select(p => p.Number)],
        Addresses = List<Address>(row, 8).ToMatchAddresses(),
        ExternalIds = [.. row.GetFieldValue<string[]>(9).Zip(row.GetFieldValue<string[]>(10))],
    };

    private static string? Text(NpgsqlDataReader row, int column) => row.IsDBNull(column) ? null : row.GetString(column);

    private static List<T> List<T>(NpgsqlDataReader row, int column) =>
        row.GetString(column) is var json && json == "[]" ? [] : JsonSerializer.Deserialize<List<T>>(json, JsonDefaults.Options)!;
}

using System.Text.Json;
using Npgsql;

namespace Crm.Runner;

/// <summary>A row of identity or of consent as a database has it, with all its columns.</summary>
/// <param name="What"><c>customer</c>, or <c>consent</c> with its channel and purpose.</param>
internal readonly record struct CopiedRow(Guid Customer, string What)
{
    public override string ToString() => $"{What} of {PublicIds.Format("cus", Customer)}";
}

/// <summary>
/// The copies of customers and consents against Contacts. Whole rows are compared, so whatever column a copy has, Contacts
/// has to have the same value of it; a column that is added to a copy is compared too.
/// </summary>
internal static class CustomerCopies
{
    public const string Customer = "customer";

    public static readonly IReadOnlyList<string> Services = ["interactions", "campaigns", "billing-sync", "support"];

    // Of lists of contact points a copy has the primary one.
    private const string Truth = """
        SELECT id, 'customer', (to_jsonb(c) || jsonb_build_object(
            'primary_email', jsonb_path_query_first(emails, '$[*] ? (@.primary == true).address'),
            'country', jsonb_path_query_first(addresses, '$[*] ? (@.primary == true).country')))::text
        FROM customers c WHERE {0}
        UNION ALL
        SELECT customer_id, concat_ws(' ', 'consent', channel, purpose), (to_jsonb(s) || jsonb_build_object('state', coalesce(state, 'none')))::text
        FROM consent_states s WHERE {1}
        """;

    private const string Copy = """
        SELECT id, 'customer', to_jsonb(c)::text FROM customers c WHERE {0}
        UNION ALL
        SELECT customer_id, concat_ws(' ', 'consent', channel, purpose), to_jsonb(s)::text FROM customer_consents s WHERE {1}
        """;

    /// <param name="others">All but these customers, instead of these.</param>
    public static Task<Dictionary<CopiedRow, JsonElement>> ReadTruthAsync(NpgsqlDataSource contacts, Guid[] customers, bool others, CancellationToken ct) =>
        ReadAsync(contacts, Truth, customers, others, ct);

    /// <inheritdoc cref="ReadTruthAsync"/>
    public static async Task CompareAsync(
        string service, NpgsqlDataSource database, IReadOnlyDictionary<CopiedRow, JsonElement> truth, Guid[] customers, bool others, Findings findings, CancellationToken ct)
    {
        var copy = await ReadAsync(database, Copy, customers, others, ct);
        foreach (var row in truth.Keys.Where(r => !copy.ContainsKey(r)))
            findings.Add(1, 0, $"{service} lacks the {row}.");
        foreach (var (row, columns) in copy)
        {
            if (!truth.TryGetValue(row, out var expected))
                findings.Add(0, 1, $"{service} has the {row}, which Contacts has not.");
            else if (Differing(expected, columns) is { Count: > 0 } differing)
                findings.AddDifference($"{service} has of the {row} {string.Join(", ", differing)}.");
        }
    }

    private static List<string> Differing(JsonElement truth, JsonElement copy) => [.. copy.EnumerateObject()
        .Select(column => (column.Name, Copy: column.Value, Truth: truth.TryGetProperty(column.Name, out var value) ? value : default))
        .Where(c => c.Truth.ValueKind == JsonValueKind.Undefined ? c.Copy.ValueKind != JsonValueKind.Null : !JsonElement.DeepEquals(c.Truth, c.Copy))
        .Select(c => $"{c.Name} {c.Copy} where Contacts has {(c.Truth.ValueKind == JsonValueKind.Undefined ? "no such column" : c.Truth.ToString())}")];

    private static async Task<Dictionary<CopiedRow, JsonElement>> ReadAsync(NpgsqlDataSource database, string sql, Guid[] customers, bool others, CancellationToken ct)
    {
        var which = others ? "<> ALL ($1)" : "= ANY ($1)";
        await using var command = database.CreateCommand(sql.Replace("{0}", $"id {which}", StringComparison.Ordinal).Replace("{1}", $"customer_id {which}", StringComparison.Ordinal));
        command.Parameters.Add(new NpgsqlParameter<Guid[]> { TypedValue = customers });
        await using var reader = await command.ExecuteReaderAsync(ct);
        var rows = new Dictionary<CopiedRow, JsonElement>();
        while (await reader.ReadAsync(ct))
            rows.Add(new(reader.GetGuid(0), reader.GetString(1)), JsonElement.Parse(reader.GetString(2)));
        return rows;
    }
}

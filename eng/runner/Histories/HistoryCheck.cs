using System.Text.Json;
using Npgsql;

namespace Crm.Runner.Histories;

/// <summary>Compares what the databases of all services and the public API say with a model, as sentences.</summary>
public sealed class HistoryCheck : IAsyncDisposable
{
    private const string Identity =
        "SELECT id, row_to_json(r)::text FROM (SELECT id, version, state, survivor_id, display_name, lifecycle, attributes, updated_at FROM customers WHERE id = ANY ($1)) AS r";

    private const string ConsentColumns = "customer_id, channel, purpose, coalesce(state, 'none') AS state, version";

    /// <summary>Where the rows of a history lie; each place has to have all rows of its types and no others.</summary>
    private static readonly Dictionary<string, Place[]> Places = new()
    {
        ["contacts"] = [new("consents", ["consent"])],
        ["interactions"] = [new("interactions", ["interaction"]), new("timeline", ["order", "case", "interaction"], "type")],
        ["campaigns"] = [new("orders", ["order"]), new("cases", ["case"]), new("interactions", ["interaction"])],
        ["billing-sync"] = [new("orders", ["order"])],
        ["support"] = [new("cases", ["case"])],
    };

    private static readonly Dictionary<string, string> Prefixes = new() { ["consent"] = "con", ["order"] = "ord", ["case"] = "cas", ["interaction"] = "int" };

    private readonly Dictionary<string, NpgsqlDataSource> _databases = [];

    private HistoryCheck()
    {
    }

    public static async Task<HistoryCheck> OpenAsync(Platform platform)
    {
        var check = new HistoryCheck();
        foreach (var service in Places.Keys)
            check._databases.Add(service, NpgsqlDataSource.Create(await platform.ConnectionStringAsync(service) + ";Maximum Pool Size=8;Max Auto Prepare=20"));
        return check;
    }

    /// <summary>Whom the messages of nobody can be seen in: what services could not handle.</summary>
    public async Task<IReadOnlyList<string>> FindDeadLettersAsync(CancellationToken ct)
    {
        var found = new List<string>();
        foreach (var (service, database) in _databases)
        {
            await using var command = database.CreateCommand("SELECT type, left(error, 300) FROM dead_letter");
            await using var reader = await command.ExecuteReaderAsync(ct);
            while (await reader.ReadAsync(ct))
                found.Add($"{service} has a dead letter: {reader.GetString(0)} {reader.GetString(1)}");
        }

        return found;
    }

    /// <summary>
    /// Of databases in which nobody recorded anything else: how many rows each place has less than were acknowledged, and how
    /// many more, summed over all services. It knows nothing of histories, so it finds what they do not look for.
    /// </summary>
    public async Task<(long Lost, long Double)> CountAsync(IReadOnlyDictionary<string, long> acknowledged, CancellationToken ct)
    {
        var (lost, twice) = (0L, 0L);
        foreach (var (service, places) in Places)
        {
            foreach (var place in places.Append(new("customers", [RowFact.Customer])))
            {
                await using var command = _databases[service].CreateCommand($"SELECT count(*) FROM {place.Table}");
                var more = (long)(await command.ExecuteScalarAsync(ct))! - place.Types.Sum(t => acknowledged.GetValueOrDefault(t));
                (lost, twice) = (lost + Math.Max(0, -more), twice + Math.Max(0, more));
            }
        }

        return (lost, twice);
    }

    /// <param name="all">False: the first place that differs is enough.</param>
    internal async Task<IReadOnlyList<string>> CompareAsync(HistoryModel model, ApiClient api, bool all, CancellationToken ct)
    {
        try
        {
            var differences = new List<string>();
            foreach (var (service, places) in Places)
            {
                await CompareRowsAsync(model, service, places, differences, ct);
                if (!all && differences.Count > 0)
                    return differences;
            }

            await CompareCustomersAsync(model, differences, ct);
            // Where rows are still on their way, merges are not complete either.
            if (differences.Count == 0)
                await CompareMergesAsync(model, api, differences, ct);
            return differences;
        }
        catch (NpgsqlException e)
        {
            // The database is being killed as well.
            return [$"A database does not answer: {e.Message}"];
        }
    }

    private async Task CompareCustomersAsync(HistoryModel model, List<string> differences, CancellationToken ct)
    {
        var truth = await ReadAsync("contacts", Identity, model, ct);
        var states = await ReadAsync("contacts", ConsentStates("consent_states"), model, ct);
        foreach (var customer in model.Customers)
        {
            if (!truth.Remove((customer, ""), out var text))
            {
                differences.Add($"Contacts lacks {Name(customer)}.");
                continue;
            }

            var row = JsonElement.Parse(text);
            var survivor = row.GetProperty("survivor_id").ValueKind == JsonValueKind.Null ? (Guid?)null : row.GetProperty("survivor_id").GetGuid();
            if (survivor != model.SurvivorOf(customer))
                differences.Add($"Contacts says that {Name(customer)} was merged into {(survivor is { } s ? Name(s) : "nobody")}.");
            var fields = row.GetProperty("attributes").EnumerateObject().Select(a => a.Name).ToHashSet();
            var edits = model.Rows.Where(r => r.Type == RowFact.Edit && model.RootOf(r.Origin) == customer).Select(r => r.Id).ToHashSet();
            if (survivor is null && !fields.SetEquals(edits))
                differences.Add($"{Name(customer)} has the fields {string.Join(' ', fields.Order())}; it was edited in {string.Join(' ', edits.Order())}.");
            truth[(customer, "")] = text;
        }

        foreach (var service in Places.Keys.Where(s => s != "contacts"))
        {
            Compare(service, truth, await ReadAsync(service, Identity, model, ct));
            Compare(service, states, await ReadAsync(service, ConsentStates("customer_consents"), model, ct));
        }

        void Compare(string service, Dictionary<(Guid, string), string> expected, Dictionary<(Guid, string), string> actual)
        {
            foreach (var (key, row) in expected.Where(e => actual.GetValueOrDefault(e.Key) != e.Value))
                differences.Add($"{service} has {actual.GetValueOrDefault(key) ?? "nothing"} where Contacts has {row}.");
            foreach (var (key, row) in actual.Where(a => !expected.ContainsKey(a.Key)))
                differences.Add($"{service} has {row}, which Contacts has not.");
        }
    }

    private async Task CompareRowsAsync(HistoryModel model, string service, Place[] places, List<string> differences, CancellationToken ct)
    {
        var expected = places.SelectMany(p => model.Rows.Where(r => p.Types.Contains(r.Type)).Select(r => new PlacedRow(p.Table, r.Type, r.Id, model.RootOf(r.Origin), r.Origin))).ToHashSet();
        var actual = new HashSet<PlacedRow>();
        var sql = string.Join("\nUNION ALL ", places.Select(p =>
            $"SELECT '{p.Table}', {p.TypeColumn ?? $"'{p.Types[0]}'"}, id, customer_id, origin_customer_id FROM {p.Table} WHERE customer_id = ANY ($1)"));
        await using var command = Command(service, sql, model);
        await using var reader = await command.ExecuteReaderAsync(ct);
        while (await reader.ReadAsync(ct))
        {
            var row = new PlacedRow(
                reader.GetString(0), reader.GetString(1), PublicIds.Format(Prefixes.GetValueOrDefault(reader.GetString(1), "?"), reader.GetGuid(2)), reader.GetGuid(3), reader.GetGuid(4));
            if (!actual.Add(row))
                differences.Add($"{service} has {row} twice.");
        }

        differences.AddRange(expected.Except(actual).Select(r => $"{service} lacks {r}."));
        differences.AddRange(actual.Except(expected).Select(r => $"{service} has {r}, which nobody recorded so."));
    }

    private static async Task CompareMergesAsync(HistoryModel model, ApiClient api, List<string> differences, CancellationToken ct)
    {
        foreach (var fact in model.Merges)
        {
            var merge = await api.GetAsync($"v1/merges/{fact.Id}", ct);
            var (status, wanted) = (merge.GetProperty("status").GetString(), fact.UndoneAt is null ? "completed" : "undone");
            if (status != wanted)
            {
                differences.Add($"{fact.Id} is {status} and lacks {merge.GetProperty("missing")}; it must be {wanted}.");
                continue;
            }

            var listed = merge.GetProperty("stayed").EnumerateArray().SelectMany(s => s.GetProperty("rows").EnumerateArray())
                .Select(r => (r.GetProperty("type").GetString()!, r.GetProperty("id").GetString()!)).ToHashSet();
            if (fact.UndoneAt is not null && !listed.SetEquals(fact.Stayed))
                differences.Add($"The undo of {fact.Id} lists {string.Join(' ', listed.Order())}; it must list {string.Join(' ', fact.Stayed.Order())}.");
        }
    }

    private static string ConsentStates(string table) => $"SELECT customer_id, row_to_json(r)::text, channel || ' ' || purpose FROM (SELECT {ConsentColumns} FROM {table} WHERE customer_id = ANY ($1)) AS r";

    private static string Name(Guid customer) => PublicIds.Format("cus", customer);

    private async Task<Dictionary<(Guid Customer, string About), string>> ReadAsync(string service, string sql, HistoryModel model, CancellationToken ct)
    {
        var rows = new Dictionary<(Guid, string), string>();
        await using var command = Command(service, sql, model);
        await using var reader = await command.ExecuteReaderAsync(ct);
        while (await reader.ReadAsync(ct))
            rows.Add((reader.GetGuid(0), reader.FieldCount > 2 ? reader.GetString(2) : ""), reader.GetString(1));
        return rows;
    }

    private NpgsqlCommand Command(string service, string sql, HistoryModel model)
    {
        var command = _databases[service].CreateCommand(sql);
        command.Parameters.Add(new NpgsqlParameter<Guid[]> { TypedValue = [.. model.Customers] });
        return command;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var database in _databases.Values)
            await database.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    /// <param name="TypeColumn">Null where the table has rows of one type only.</param>
    private sealed record Place(string Table, string[] Types, string? TypeColumn = null);

    private sealed record PlacedRow(string Table, string Type, string Id, Guid Owner, Guid Origin)
    {
        public override string ToString() => $"{Table}: {Type} {Id} of {Name(Owner)}, recorded under {Name(Origin)}";
    }
}

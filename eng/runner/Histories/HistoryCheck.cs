using System.Text.Json;
using Npgsql;

namespace Crm.Runner.Histories;

/// <summary>Compares what the databases of all services and the public API say with a model, as sentences.</summary>
public sealed class HistoryCheck : IAsyncDisposable
{
    // The model has no clock, and does not know which orders Contacts has heard of.
    private static readonly string[] NotModelled = ["version", "updated_at", "lifecycle"];

    /// <summary>Where the rows of a history lie; each place has to have all rows of its types and no others.</summary>
    private static readonly Dictionary<string, Place[]> Places = new()
    {
        ["contacts"] = [new("consents", ["consent"])],
        ["interactions"] = [new("interactions", ["interaction"]), new("timeline", ["order", "case", "interaction"], "type")],
        ["campaigns"] = [new("orders", ["order"]), new("cases", ["case"]), new("interactions", ["interaction"])],
        ["billing-sync"] = [new("orders", ["order"])],
        ["support"] = [new("cases", ["case"])],
    };

    /// <summary>Where rows lie that are looked for by their ids only.</summary>
    private static readonly Dictionary<string, Place[]> MorePlaces = new()
    {
        ["contacts"] = [new("customers", [RowFact.Customer], Customer: "id"), new("merges", [RowFact.Merge], Customer: "survivor_id")],
        ["support"] = [new("case_messages", [RowFact.Message], Customer: null)],
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
    /// All rows of all customers but <paramref name="others"/>, about whom alone anybody else may have recorded something: which
    /// were acknowledged and are not in a place that must have them, which are there and were not acknowledged, and
    /// whether all copies are equal. It knows nothing of histories, so it finds what they do not look for.
    /// </summary>
    public async Task CompareAllAsync(IReadOnlyCollection<RecordedRow> acknowledged, Guid[] others, Findings findings, CancellationToken ct)
    {
        var byType = acknowledged.ToLookup(a => a.Type);
        foreach (var (service, places) in Places.Concat(MorePlaces))
        {
            foreach (var place in places)
            {
                var (expected, missing) = (place.Types.SelectMany(t => byType[t]).ToHashSet(), place.Types.SelectMany(t => byType[t]).ToHashSet());
                var more = 0L;
                var where = place.Customer is { } customer ? $"WHERE {customer} <> ALL ($1)" : "";
                await using var command = _databases[service].CreateCommand($"SELECT {place.Type}, id FROM {place.Table} {where}");
                if (place.Customer is not null)
                    command.Parameters.Add(new NpgsqlParameter<Guid[]> { TypedValue = others });
                await using var reader = await command.ExecuteReaderAsync(ct);
                while (await reader.ReadAsync(ct))
                {
                    var row = new RecordedRow(reader.GetString(0), reader.GetGuid(1));
                    more += missing.Remove(row) ? 0 : 1;
                }

                findings.Add(missing.Count, more, $"{service}.{place.Table} lacks {missing.Count} of {expected.Count} acknowledged rows, and has {more} more.");
            }
        }

        var truth = await CustomerCopies.ReadTruthAsync(_databases["contacts"], others, others: true, ct);
        foreach (var service in CustomerCopies.Services)
            await CustomerCopies.CompareAsync(service, _databases[service], truth, others, others: true, findings, ct);
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
            {
                await CompareMergesAsync(model, api, differences, ct);
                await CompareFieldsAsync(model, api, differences, ct);
            }

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
        var findings = new Findings();
        Guid[] customers = [.. model.Customers];
        var truth = await CustomerCopies.ReadTruthAsync(_databases["contacts"], customers, others: false, ct);
        foreach (var customer in customers)
        {
            if (!truth.TryGetValue(new(customer, CustomerCopies.Customer), out var row))
            {
                differences.Add($"Contacts lacks {Name(customer)}.");
                continue;
            }

            var survivor = row.GetProperty("survivor_id").ValueKind == JsonValueKind.Null ? (Guid?)null : row.GetProperty("survivor_id").GetGuid();
            if (survivor != model.SurvivorOf(customer))
                differences.Add($"Contacts says that {Name(customer)} was merged into {(survivor is { } s ? Name(s) : "nobody")}.");
            var said = truth.TryGetValue(new(customer, "consent email news"), out var consent) ? consent.GetProperty("state").GetString() : "none";
            var wanted = model.ConsentOf(customer) switch { true => "granted", false => "denied", null => "none" };
            if (survivor is null && !model.HasAbsorbed(customer) && said != wanted)
                differences.Add($"The consent of {Name(customer)} is {said}; the last word was {wanted}.");
        }

        foreach (var service in CustomerCopies.Services)
            await CustomerCopies.CompareAsync(service, _databases[service], truth, customers, others: false, findings, ct);
        differences.AddRange(findings.Sentences);
    }

    /// <summary>Everything that the API shows of whoever stands for a customer, whatever fields that has.</summary>
    private static async Task CompareFieldsAsync(HistoryModel model, ApiClient api, List<string> differences, CancellationToken ct)
    {
        foreach (var customer in model.Customers.Where(c => model.SurvivorOf(c) is null))
        {
            var shown = await api.GetAsync($"v1/customers/{Name(customer)}", ct);
            var expected = JsonSerializer.SerializeToElement(model.FieldsOf(customer));
            foreach (var name in expected.EnumerateObject().Concat(shown.EnumerateObject()).Select(f => f.Name).Distinct().Except(NotModelled))
            {
                var (wanted, found) = (Plain(expected, name), Plain(shown, name));
                if (wanted != found)
                    differences.Add($"{Name(customer)} has {name} {found}; it must be {wanted}.");
            }

            var bought = model.Rows.Exists(r => r.Type == "order" && model.RootOf(r.Origin) == customer);
            if (shown.GetProperty("lifecycle").GetString() is var lifecycle && lifecycle != (bought ? "active_buyer" : "prospect"))
                differences.Add($"{Name(customer)} is {lifecycle}{(bought ? "" : " without an order")}.");
        }
    }

    private static string Plain(JsonElement fields, string name) => fields.TryGetProperty(name, out var value) ? Plain(value) : "absent";

    /// <summary>A value as text; the order of a list says nothing.</summary>
    private static string Plain(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Array => $"[{string.Join(", ", value.EnumerateArray().Select(Plain).Order(StringComparer.Ordinal))}]",
        JsonValueKind.Object => $"{{{string.Join(", ", value.EnumerateObject().Select(e => $"{e.Name}: {Plain(e.Value)}").Order(StringComparer.Ordinal))}}}",
        _ => value.ToString(),
    };

    private async Task CompareRowsAsync(HistoryModel model, string service, Place[] places, List<string> differences, CancellationToken ct)
    {
        var expected = places.SelectMany(p => model.Rows.Where(r => p.Types.Contains(r.Type)).Select(r => new PlacedRow(p.Table, r.Type, r.Id, model.RootOf(r.Origin), r.Origin))).ToHashSet();
        var actual = new HashSet<PlacedRow>();
        var sql = string.Join("\nUNION ALL ", places.Select(p =>
            $"SELECT '{p.Table}', {p.Type}, id, customer_id, origin_customer_id FROM {p.Table} WHERE customer_id = ANY ($1)"));
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
            // A lifecycle that moved meanwhile may be among them, of which the model knows nothing.
            var kept = merge.GetProperty("kept_edits").EnumerateArray()
                .SelectMany(k => k.GetProperty("fields").EnumerateArray().Select(f => (Customer: PublicIds.Parse(k.GetProperty("customer_id").GetString()!), Field: f.GetString()!))).ToHashSet();
            if (fact.UndoneAt is not null && !fact.KeptEdits.IsSubsetOf(kept))
                differences.Add($"The undo of {fact.Id} does not list that {string.Join(' ', fact.KeptEdits.Except(kept).Select(k => $"{Name(k.Customer)} keeps {k.Field}"))}.");
        }
    }

    private static string Name(Guid customer) => PublicIds.Format("cus", customer);

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
    /// <param name="Customer">The column that says whose a row is; null where none does.</param>
    private sealed record Place(string Table, string[] Types, string? TypeColumn = null, string? Customer = "customer_id")
    {
        public string Type => TypeColumn ?? $"'{Types[0]}'";
    }

    private sealed record PlacedRow(string Table, string Type, string Id, Guid Owner, Guid Origin)
    {
        public override string ToString() => $"{Table}: {Type} {Id} of {Name(Owner)}, recorded under {Name(Origin)}";
    }
}

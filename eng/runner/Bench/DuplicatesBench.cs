using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Crm.Contacts.Domain.Matching;
using Npgsql;

namespace Crm.Runner.Bench;

/// <summary>
/// Duplicates among synthetic people of whom a tenth is recorded twice: a full scan, then one of new records only, each with
/// its time, memory, pairs and how right it was; and what the check at entry costs of a create. Contacts alone, without the
/// other services.
/// </summary>
internal static class DuplicatesBench
{
    public const int DefaultRows = 100_000;
    private const int WrittenAtOnce = 20_000;
    private const int New = 10_000;
    private static readonly TimeSpan RoundTime = TimeSpan.FromSeconds(4);

    public static async Task<int> RunAsync(int rows, CancellationToken ct)
    {
        var progress = new Progress();
        await Build.Programs(Topology.Load(Topology.FindRoot())).RunAsync(progress.Step, ct);
        await using var platform = await Platform.StartAsync("bench", only: ["contacts", "gateway"], progress: progress.Step, durable: true, ct: ct);
        using var client = platform.CreateClient();
        client.Timeout = TimeSpan.FromMinutes(5);
        await using var database = NpgsqlDataSource.Create(await platform.ConnectionStringAsync("contacts"));

        progress.Step("bench", string.Create(CultureInfo.InvariantCulture, $"{rows:n0} people, a tenth of the records a second one"));
        var population = new SyntheticPopulation(seed: 1);
        var truth = new HashSet<(Guid, Guid)>();
        var groups = new Dictionary<Guid, List<Guid>>();
        await WriteAsync(database, population.People(rows - (rows / 10)), ct);
        await WriteAsync(database, Remember(population.Copies(rows / 10)), ct);
        await ExecuteAsync(database, "VACUUM ANALYZE", ct);

        var full = await ScanAsync(platform, client, database, "full", truth, ct);
        var before = truth.Count;
        progress.Step("bench", string.Create(CultureInfo.InvariantCulture, $"{New:n0} new records, a tenth of them second ones"));
        await WriteAsync(database, population.People(New - (New / 10)), ct);
        await WriteAsync(database, Remember(population.Copies(New / 10)), ct);
        var changed = await ScanAsync(platform, client, database, "changed", truth, ct);

        progress.Step("bench", "check at entry");
        await ExecuteAsync(database, "VACUUM ANALYZE", ct);
        var (refused, suspected, created) = await EntryAsync(platform, population, ct);
        var check = suspected.P50 - refused.P50;
        var insert = created.P50 - suspected.P50;

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            {DateTime.UtcNow:yyyy-MM-dd}, {Environment.ProcessorCount} cores for everything, .NET {Environment.Version}, {rows:n0} customers, fsync on

            | scan | customers | pairs compared | time | memory of Contacts, most | P | R | F1 |
            |---|---|---|---|---|---|---|---|
            | full, {before:n0} true pairs | {full.Records:n0} | {full.Compared:n0} | {full.Time.TotalSeconds:n1} s | {full.Megabytes:n0} MB | {full.Precision:0.000} | {full.Recall:0.000} | {full.F1:0.000} |
            | of the new ones, {truth.Count - before:n0} more true pairs | {changed.Records:n0} | {changed.Compared:n0} | {changed.Time.TotalSeconds:n1} s | {changed.Megabytes:n0} MB | {changed.Precision:0.000} | {changed.Recall:0.000} | {changed.F1:0.000} |

            | `POST /v1/customers` straight to Contacts, 1 client, {rows + New:n0} customers there | p50 | p99 |
            |---|---|---|
            | refused before the check: a body that is not valid | {refused.P50:0.00} ms | {refused.P99:0.00} ms |
            | refused by the check: `duplicate_suspected` | {suspected.P50:0.00} ms | {suspected.P99:0.00} ms |
            | created | {created.P50:0.00} ms | {created.P99:0.00} ms |
            | so: the check, locks and answer included | {check:0.00} ms | |
            | and: the insert, event and audit entry included | {insert:0.00} ms | check / insert {check / insert:0.00} |
            """));
        return 0;

        IEnumerable<MatchFields> Remember(IEnumerable<(Guid Original, MatchFields Copy)> copies)
        {
            foreach (var (original, copy) in copies)
            {
                if (!groups.TryGetValue(original, out var group))
                    groups[original] = group = [original];
                group.ForEach(other => truth.Add(Pair(other, copy.Id)));
                group.Add(copy.Id);
                yield return copy;
            }
        }
    }

    private static (Guid, Guid) Pair(Guid a, Guid b) => a.CompareTo(b) < 0 ? (a, b) : (b, a);

    /// <summary>Rows and keys as the service writes them; past it, for time.</summary>
    private static async Task WriteAsync(NpgsqlDataSource database, IEnumerable<MatchFields> people, CancellationToken ct)
    {
        await using var connection = await database.OpenConnectionAsync(ct);
        foreach (var some in people.Chunk(WrittenAtOnce))
        {
            await using var transaction = await connection.BeginTransactionAsync(ct);
            await using (var customers = await connection.BeginBinaryImportAsync("""
                COPY customers (id, version, event_sequence, kind, given_name, family_name, display_name, search_name, emails, phones, addresses, birth_date,
                    lifecycle, tier, attributes, state, merged_from, match_keys, created_at, updated_at) FROM STDIN (FORMAT BINARY)
                """, ct))
            {
                foreach (var p in some)
                {
                    var name = $"{p.GivenName} {p.FamilyName}";
                    var address = p.Addresses.Select(a => new { lines = a.Lines, city = a.City, postal_code = a.PostalCode, country = a.Country, type = "home", primary = true });
                    object?[] row =
                    [
                        p.Id, 1L, 1L, "person", p.GivenName, p.FamilyName, name, Contacts.Domain.TextFolding.Fold(name),
                        JsonSerializer.Serialize(p.Emails.Select(e => new { address = e, type = "home", primary = true })), JsonSerializer.Serialize(p.Phones.Select(n => new { number = n, type = "mobile", primary = true })),
                        JsonSerializer.Serialize(address), p.BirthDate is null ? null : DateOnly.ParseExact(p.BirthDate, "yyyyMMdd", CultureInfo.InvariantCulture),
                        "prospect", "standard", "{}", "active", Array.Empty<Guid>(), BlockingKeys.Of(MatchRecord.Of(p)), DateTime.UtcNow, DateTime.UtcNow,
                    ];
                    string[] types = ["uuid", "bigint", "bigint", "text", "text", "text", "text", "text", "jsonb", "jsonb", "jsonb", "date", "text", "text", "jsonb", "text", "uuid[]", "bigint[]", "timestamptz", "timestamptz"];
                    await customers.StartRowAsync(ct);
                    for (var i = 0; i < row.Length; i++)
                        await (row[i] is { } value ? customers.WriteAsync(value, types[i], ct) : customers.WriteNullAsync(ct));
                }

                await customers.CompleteAsync(ct);
            }

            await using (var identifiers = await connection.BeginBinaryImportAsync("COPY customer_identifiers (kind, value, customer_id) FROM STDIN (FORMAT BINARY)", ct))
            {
                foreach (var (kind, value, id) in some.SelectMany(p => p.Emails.Select(e => ("email", e, p.Id)).Concat(p.Phones.Select(n => ("phone", n, p.Id)))))
                {
                    await identifiers.StartRowAsync(ct);
                    await identifiers.WriteAsync(kind, ct);
                    await identifiers.WriteAsync(value, ct);
                    await identifiers.WriteAsync(id, ct);
                }

                await identifiers.CompleteAsync(ct);
            }

            await transaction.CommitAsync(ct);
        }
    }

    private static async Task<ScanResult> ScanAsync(Platform platform, HttpClient client, NpgsqlDataSource database, string mode, HashSet<(Guid, Guid)> truth, CancellationToken ct)
    {
        var status = $"/proc/{platform["contacts"].Process!.Pid}/status";
        await File.WriteAllTextAsync($"/proc/{platform["contacts"].Process!.Pid}/clear_refs", "5", ct); // the peak counts from here
        var start = Stopwatch.GetTimestamp();
        using var asked = await client.PostAsJsonAsync("v1/duplicate-scans", new { mode }, ct);
        asked.EnsureSuccessStatusCode();
        JsonElement scan;
        do
        {
            await Task.Delay(200, ct);
            scan = await client.GetFromJsonAsync<JsonElement>(asked.Headers.Location, ct);
        }
        while (scan.GetProperty("status").GetString() is "queued" or "running");
        var time = Stopwatch.GetElapsedTime(start);
        if (scan.GetProperty("status").GetString() != "completed")
            throw new RunnerException($"The scan failed: {scan}", "");

        long found = 0, right = 0;
        await using var pairs = database.CreateCommand("SELECT low_id, high_id FROM duplicates WHERE status = 'open'");
        await using var row = await pairs.ExecuteReaderAsync(ct);
        while (await row.ReadAsync(ct))
        {
            found++;
            right += truth.Contains(Pair(row.GetGuid(0), row.GetGuid(1))) ? 1 : 0;
        }

        var peak = (await File.ReadAllLinesAsync(status, ct)).First(l => l.StartsWith("VmHWM:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1];
        return new(
            scan.GetProperty("records").GetInt64(), scan.GetProperty("compared").GetInt64(), time, long.Parse(peak, CultureInfo.InvariantCulture) / 1024,
            found == 0 ? 0 : (double)right / found, (double)right / truth.Count);
    }

    private static async Task<(Series Refused, Series Suspected, Series Created)> EntryAsync(Platform platform, SyntheticPopulation population, CancellationToken ct)
    {
        var key = await File.ReadAllTextAsync(Path.Combine(platform.Secrets.FolderOf("gateway"), "Auth__PrivateKey"), ct);
        using var contacts = new HttpClient { BaseAddress = platform["contacts"].HttpAddress };
        contacts.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", GatewayToken.Mint(key, Platform.PartnerScopes, TimeSpan.FromHours(1)));
        var known = population.Originals.Where(p => p.Emails.Count > 0).Take(100_000).ToArray();
        using var fresh = population.People(int.MaxValue).GetEnumerator();
        await LoopAsync(201);
        return (await LoopAsync(400), await LoopAsync(409), await LoopAsync(201));

        Task<Series> LoopAsync(int expected) => Measure.LoopAsync(1, RoundTime, async token =>
        {
            MatchFields person;
            if (expected == 409)
            {
                person = known[Random.Shared.Next(known.Length)];
            }
            else
            {
                fresh.MoveNext();
                person = fresh.Current;
            }

            using var answer = await contacts.PostAsJsonAsync("v1/customers", Body(person, valid: expected != 400), token);
            if ((int)answer.StatusCode != expected && (expected != 201 || (int)answer.StatusCode != 409))
                throw new RunnerException($"{(int)answer.StatusCode} instead of {expected}: {await answer.Content.ReadAsStringAsync(token)}", "");
        }, ct);
    }

    private static object Body(MatchFields p, bool valid) => new
    {
        kind = "person",
        given_name = p.GivenName,
        family_name = p.FamilyName,
        birth_date = p.BirthDate is null ? null : $"{p.BirthDate[..4]}-{p.BirthDate[4..6]}-{p.BirthDate[6..]}",
        emails = p.Emails.Select(e => new { address = e }),
        phones = p.Phones.Select(n => new { number = n }),
        addresses = p.Addresses.Select(a => new { lines = a.Lines, city = a.City, postal_code = a.PostalCode, country = a.Country }),
        locale = valid ? "en-GB" : "not a locale",
        source = new { type = "enquiry" },
    };

    private static async Task ExecuteAsync(NpgsqlDataSource database, string sql, CancellationToken ct)
    {
        await using var command = database.CreateCommand(sql);
        command.CommandTimeout = 0;
        await command.ExecuteNonQueryAsync(ct);
    }

    private sealed record ScanResult(long Records, long Compared, TimeSpan Time, long Megabytes, double Precision, double Recall)
    {
        public double F1 => Precision + Recall == 0 ? 0 : 2 * Precision * Recall / (Precision + Recall);
    }
}

using System.Collections.Concurrent;
using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Duplicates;
using Crm.Contacts.Domain.Matching;
using Crm.Hosting;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;
using Npgsql;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>
/// One scan. A full one reads all customers into memory (see <see cref="PackedRecords"/>), estimates the parameters from
/// them and compares all pairs that share a key; one of changes takes some changed customers at a time, finds their pairs by
/// index and leaves a checkpoint with them.
/// </summary>
internal sealed partial class DuplicateScanner(
    NpgsqlDataSource dataSource, IServiceScopeFactory scopes, MatchModels models, IOptions<DuplicateOptions> options, TimeProvider clock, ILogger<DuplicateScanner> logger)
{
    private const int ChangedAtOnce = 500;
    private const int WrittenAtOnce = 2000;
    private const int FewEnoughToUnpack = 20_000;

    private static readonly TimeSpan ProgressEvery = TimeSpan.FromSeconds(1);
    private static readonly System.Diagnostics.Metrics.Counter<long> PairsCompared =
        Telemetry.Meter.CreateCounter<long>("crm.contacts.duplicate_pairs_compared", description: "Pairs of customers that scans have compared");

    /// <returns>Pairs found, and pairs merged without being asked about.</returns>
    public async Task<(long Found, long Merged)> RunAsync(Guid scan, bool full, CancellationToken ct)
    {
        await ExecuteAsync("""
            UPDATE duplicate_scans SET status = 'running', attempts = attempts + 1, started_at = coalesce(started_at, @now), records = 0, compared = 0, found = 0 WHERE id = @scan
            """, ct, new NpgsqlParameter<Guid>("scan", scan), Now());
        var found = full ? await ScanAllAsync(scan, ct) : await ScanChangedAsync(scan, ct);
        var merged = options.Value.MergeFrom is { } threshold ? await MergeAsync(scan, threshold, ct) : 0;
        await ExecuteAsync("UPDATE duplicate_scans SET status = 'completed', merged = @merged, finished_at = @now WHERE id = @scan", ct,
            new NpgsqlParameter<Guid>("scan", scan), new NpgsqlParameter<long>("merged", merged), Now());
        return (found, merged);
    }

    /// <summary>What a full scan had taken off the list of changes is put on it again: all that changed since the last completed one began, if there is one.</summary>
    public Task GiveUpAsync(Guid scan, CancellationToken ct) => ExecuteAsync("""
        WITH failed AS (UPDATE duplicate_scans SET status = 'failed', finished_at = @now WHERE id = @scan RETURNING mode),
        completed AS (SELECT started_at FROM duplicate_scans WHERE mode = 'full' AND status = 'completed' ORDER BY id DESC LIMIT 1)
        INSERT INTO duplicate_changes (customer_id, version)
        SELECT c.id, c.version FROM customers c
        WHERE EXISTS (SELECT FROM failed WHERE mode = 'full') AND c.state = 'active'
            AND c.updated_at >= coalesce((SELECT started_at - interval '10 minutes' FROM completed), '-infinity')
        ON CONFLICT DO NOTHING
        """, ct, new NpgsqlParameter<Guid>("scan", scan), Now());

    /// <summary>An attempt that ended because the process was told to stop was none.</summary>
    public Task StoppedAsync(Guid scan, CancellationToken ct) =>
        ExecuteAsync("UPDATE duplicate_scans SET attempts = attempts - 1 WHERE id = @scan", ct, new NpgsqlParameter<Guid>("scan", scan));

    private async Task<long> ScanAllAsync(Guid scan, CancellationToken ct)
    {
        // What is noted up to here is read below; a change while the scan runs is noted anew.
        await ExecuteAsync("DELETE FROM duplicate_changes", ct);
        var proveNothing = await ProveNothingAsync(ct);
        long found = 0, records = 0, compared = 0;
        foreach (var organization in (bool[])[false, true])
        {
            var all = await LoadAsync(organization, proveNothing, ct);
            records += all.Count;
            if (all.Count == 0)
            {
                continue;
            }

            var candidates = CandidatePairs.Of(all);
            var model = await Task.Run(() => new ModelEstimator(all).Estimate(candidates), ct);
            await models.SaveAsync(organization, model, ct);
            var (pairs, kind) = await CompareAsync(all, candidates, model, done => ProgressAsync(scan, records, compared + done, found, ct), ct);
            compared += kind;
            foreach (var chunk in pairs.Chunk(WrittenAtOnce))
            {
                await using var connection = await dataSource.OpenConnectionAsync(ct);
                found += await WriteAsync(connection, scan, [.. chunk.Select(p => Found.Of(model, all[p.A], all[p.B]))], clock.GetUtcNow(), ct);
                await ProgressAsync(scan, records, compared, found, ct);
            }
        }

        await ExecuteAsync("DELETE FROM duplicates WHERE status = 'open' AND scan_id <> @scan", ct, new NpgsqlParameter<Guid>("scan", scan));
        await ExecuteAsync("UPDATE duplicate_models SET outdated = false WHERE outdated", ct);
        await ProgressAsync(scan, records, compared, found, ct);
        return found;
    }

    private async Task<(List<(int A, int B)> Pairs, long Compared)> CompareAsync(
        IReadOnlyList<MatchRecord> all, CandidatePairs candidates, MatchModel model, Func<long, Task> progress, CancellationToken ct)
    {
        var suspects = new ConcurrentBag<List<(int, int)>>();
        long compared = 0;
        var work = Task.Run(() => Parallel.For(
            0, candidates.Blocks, new ParallelOptions { CancellationToken = ct, MaxDegreeOfParallelism = Environment.ProcessorCount },
            () => new List<(int, int)>(),
            (block, _, mine) =>
            {
                long inBlock = 0;
                candidates.Visit(block, all, (a, b) =>
                {
                    inBlock++;
                    if (IsSuspect(model, a.Record, b.Record))
                    {
                        mine.Add((a.Index, b.Index));
                    }
                });
                Interlocked.Add(ref compared, inBlock);
                return mine;
            },
            suspects.Add), ct);
        while (await Task.WhenAny(work, Task.Delay(ProgressEvery, clock, ct)) != work)
        {
            await progress(Interlocked.Read(ref compared));
        }

        await work;
        PairsCompared.Add(compared);
        return ([.. suspects.SelectMany(s => s)], compared);
    }

    private async Task<long> ScanChangedAsync(Guid scan, CancellationToken ct)
    {
        long found = 0, records = 0, compared = 0;
        while (true)
        {
            await using var connection = await dataSource.OpenConnectionAsync(ct);
            await using var transaction = await connection.BeginTransactionAsync(ct);
            var changed = await TakeChangedAsync(connection, ct);
            if (changed.Length == 0)
            {
                return found;
            }

            var (pairs, comparisons) = await CompareChangedAsync(connection, changed, ct);
            var written = await WriteAsync(connection, scan, pairs, clock.GetUtcNow(), ct);
            await using (var close = new NpgsqlCommand(
                "DELETE FROM duplicates WHERE status = 'open' AND scan_id <> @scan AND (low_id = ANY (@changed) OR high_id = ANY (@changed))", connection))
            {
                close.Parameters.Add(new NpgsqlParameter<Guid>("scan", scan));
                close.Parameters.Add(new NpgsqlParameter<Guid[]>("changed", changed));
                await close.ExecuteNonQueryAsync(ct);
            }

            await transaction.CommitAsync(ct);
            PairsCompared.Add(comparisons);
            (records, compared, found) = (records + changed.Length, compared + comparisons, found + written);
            await ProgressAsync(scan, records, compared, found, ct);
        }
    }

    private static async Task<Guid[]> TakeChangedAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var take = new NpgsqlCommand($"""
            WITH taken AS (DELETE FROM duplicate_changes WHERE (customer_id, version) IN (SELECT customer_id, version FROM duplicate_changes ORDER BY 1, 2 LIMIT {ChangedAtOnce}) RETURNING customer_id)
            SELECT coalesce(array_agg(DISTINCT customer_id), ARRAY[]::uuid[]) FROM taken
            """, connection);
        return (Guid[])(await take.ExecuteScalarAsync(ct))!;
    }

    /// <summary>The pairs of changed customers, by index: keys that many have are passed over.</summary>
    private async Task<(List<Found> Pairs, long Compared)> CompareChangedAsync(NpgsqlConnection connection, Guid[] changed, CancellationToken ct)
    {
        var records = (await models.OfAsync(organization: false, ct)).Records;
        var partners = new List<(Guid Customer, Guid Partner)>();
        await using (var pairs = new NpgsqlCommand("""
            SELECT DISTINCT c.id, other.id
            FROM customers c
            CROSS JOIN LATERAL unnest(c.match_keys) AS k (key)
            CROSS JOIN LATERAL (SELECT array_agg(few.customer_id) AS ids FROM (SELECT d.customer_id FROM duplicate_keys d WHERE d.key = k.key LIMIT @largest + 1) AS few) AS block
            CROSS JOIN LATERAL unnest(block.ids) AS other (id)
            WHERE c.id = ANY (@changed) AND c.state = 'active' AND cardinality(block.ids) <= @largest AND other.id <> c.id AND (other.id < c.id OR other.id <> ALL (@changed))
            """, connection) { CommandTimeout = 300 })
        {
            pairs.Parameters.Add(new NpgsqlParameter<Guid[]>("changed", changed));
            pairs.Parameters.Add(new NpgsqlParameter<int>("largest", CandidatePairs.LargestBlockOf((int)Math.Min(records, int.MaxValue))));
            await using var row = await pairs.ExecuteReaderAsync(ct);
            while (await row.ReadAsync(ct))
            {
                partners.Add((row.GetGuid(0), row.GetGuid(1)));
            }
        }

        Guid[] ids = [.. partners.SelectMany(p => (Guid[])[p.Customer, p.Partner]).Distinct()];
        var customers = await ReadAsync(connection, ids, await ProveNothingAsync(connection, changed, ct), ct);
        var found = new List<Found>();
        foreach (var (customer, partner) in partners)
        {
            if (customers.TryGetValue(customer, out var a) && customers.TryGetValue(partner, out var b) && a.Organization == b.Organization
                && await models.OfAsync(a.Organization, ct) is var model && IsSuspect(model, a, b))
            {
                found.Add(Found.Of(model, a, b));
            }
        }

        return (found, partners.Count);
    }

    private static async Task<Dictionary<Guid, MatchRecord>> ReadAsync(NpgsqlConnection connection, Guid[] ids, HashSet<string> proveNothing, CancellationToken ct)
    {
        var customers = new Dictionary<Guid, MatchRecord>(ids.Length);
        await using var read = new NpgsqlCommand($"SELECT {MatchRows.Columns} FROM customers c WHERE c.id = ANY (@ids) AND c.state = 'active'", connection) { CommandTimeout = 300 };
        read.Parameters.Add(new NpgsqlParameter<Guid[]>("ids", ids));
        await using var row = await read.ExecuteReaderAsync(ct);
        while (await row.ReadAsync(ct))
        {
            var record = MatchRecord.Of(MatchRows.Read(row), proveNothing.Contains);
            customers[record.Id] = record;
        }

        return customers;
    }

    private bool IsSuspect(MatchModel model, MatchRecord a, MatchRecord b) => model.Probability(a, b, model.Compare(a, b)) >= options.Value.ReviewFrom;

    private async Task<IReadOnlyList<MatchRecord>> LoadAsync(bool organization, HashSet<string> proveNothing, CancellationToken ct)
    {
        var all = new PackedRecords();
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        await using var read = new NpgsqlCommand($"SELECT {MatchRows.Columns} FROM customers c WHERE c.kind = @kind AND c.state = 'active'", connection) { CommandTimeout = 0 };
        read.Parameters.Add(new NpgsqlParameter<string>("kind", organization ? "organization" : "person"));
        await using var row = await read.ExecuteReaderAsync(ct);
        while (await row.ReadAsync(ct))
        {
            all.Add(MatchRecord.Of(MatchRows.Read(row), proveNothing.Contains));
        }

        all.Complete();
        return all.Count <= FewEnoughToUnpack ? all.ToList() : all;
    }

    /// <summary>Blocked identifiers, and those that more customers have than the limit allows.</summary>
    private async Task<HashSet<string>> ProveNothingAsync(CancellationToken ct)
    {
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        return await ReadIdentifiersAsync(connection, """
            SELECT value FROM blocked_identifiers
            UNION SELECT value FROM customer_identifiers GROUP BY kind, value HAVING count(*) > @limit
            """, ct);
    }

    /// <summary>The same of what these customers have.</summary>
    private Task<HashSet<string>> ProveNothingAsync(NpgsqlConnection connection, Guid[] changed, CancellationToken ct) => ReadIdentifiersAsync(connection, """
        SELECT value FROM blocked_identifiers
        UNION SELECT own.value FROM (SELECT DISTINCT kind, value FROM customer_identifiers WHERE customer_id = ANY (@changed)) AS own
        WHERE (SELECT count(*) FROM (SELECT 1 FROM customer_identifiers i WHERE i.kind = own.kind AND i.value = own.value LIMIT @limit + 1) AS owners) > @limit
        """, ct, new NpgsqlParameter<Guid[]>("changed", changed));

    private async Task<HashSet<string>> ReadIdentifiersAsync(NpgsqlConnection connection, string sql, CancellationToken ct, params NpgsqlParameter[] parameters)
    {
        var values = new HashSet<string>(StringComparer.Ordinal);
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 300 };
        command.Parameters.AddRange(parameters);
        command.Parameters.Add(new NpgsqlParameter<int>("limit", options.Value.CustomersPerIdentifier));
        await using var row = await command.ExecuteReaderAsync(ct);
        while (await row.ReadAsync(ct))
        {
            values.Add(MatchRecord.Identifier(row.GetString(0)));
        }

        return values;
    }

    /// <summary>
    /// Puts the pairs into the queue, or says there that they were found again. Left out is a pair that was decided before,
    /// under these ids or under those that the two have absorbed.
    /// </summary>
    /// <param name="scan">That found them; null: a customer was created, and what a scan says of its pairs stays.</param>
    internal static async Task<long> WriteAsync(NpgsqlConnection connection, Guid? scan, List<Found> pairs, DateTimeOffset now, CancellationToken ct)
    {
        if (pairs.Count == 0)
        {
            return 0;
        }

        await using var write = new NpgsqlCommand("""
            INSERT INTO duplicates (id, low_id, high_id, status, weight, probability, fields, unasked, scan_id, found_at)
            SELECT f.id, least(a.id, b.id), greatest(a.id, b.id), 'open', f.weight, f.probability, f.fields::jsonb, f.unasked, coalesce(@scan, '00000000-0000-0000-0000-000000000000'), @now
            FROM unnest(@ids, @a, @b, @weights, @probabilities, @fields, @unasked) AS f (id, a, b, weight, probability, fields, unasked)
            JOIN customers a ON a.id = f.a JOIN customers b ON b.id = f.b
            WHERE a.state = 'active' AND b.state = 'active' AND NOT EXISTS (
                SELECT 1 FROM unnest(a.id || a.merged_from) AS x (id), unnest(b.id || b.merged_from) AS y (id), duplicates decided
                WHERE decided.low_id = least(x.id, y.id) AND decided.high_id = greatest(x.id, y.id) AND decided.status <> 'open')
            ORDER BY 2, 3
            ON CONFLICT ON CONSTRAINT duplicates_pair DO UPDATE
            SET weight = excluded.weight, probability = excluded.probability, fields = excluded.fields, unasked = excluded.unasked, scan_id = excluded.scan_id
            WHERE duplicates.status = 'open' AND @scan IS NOT NULL
            """, connection) { CommandTimeout = 300 };
        write.Parameters.Add(new NpgsqlParameter("scan", NpgsqlTypes.NpgsqlDbType.Uuid) { Value = (object?)scan ?? DBNull.Value });
        write.Parameters.Add(new NpgsqlParameter<DateTimeOffset>("now", now));
        write.Parameters.Add(new NpgsqlParameter<Guid[]>("ids", [.. pairs.Select(_ => Guid.CreateVersion7(now))]));
        write.Parameters.Add(new NpgsqlParameter<Guid[]>("a", [.. pairs.Select(p => p.A)]));
        write.Parameters.Add(new NpgsqlParameter<Guid[]>("b", [.. pairs.Select(p => p.B)]));
        write.Parameters.Add(new NpgsqlParameter<double[]>("weights", [.. pairs.Select(p => p.Score.Weight)]));
        write.Parameters.Add(new NpgsqlParameter<double[]>("probabilities", [.. pairs.Select(p => p.Score.Probability)]));
        write.Parameters.Add(new NpgsqlParameter<string[]>("fields", [.. pairs.Select(p => JsonSerializer.Serialize(p.Score.Fields.Select(FieldEvidence.Of), JsonDefaults.Options))]));
        write.Parameters.Add(new NpgsqlParameter<bool[]>("unasked", [.. pairs.Select(p => p.Unasked)]));
        return await write.ExecuteNonQueryAsync(ct);
    }

    /// <summary>The likeliest first. A pair whose absorbed one is gone waits for the next scan, which compares the survivor.</summary>
    private async Task<long> MergeAsync(Guid scan, double threshold, CancellationToken ct)
    {
        List<Duplicate> certain;
        await using (var scope = scopes.CreateAsyncScope())
        {
            certain = await scope.ServiceProvider.GetRequiredService<ContactsDb>().Duplicates.AsNoTracking()
                .Where(d => d.Status == DuplicateStatus.Open && d.Unasked && d.Probability >= threshold).OrderByDescending(d => d.Weight).ToListAsync(ct);
        }

        // One merge may decide several pairs.
        var merged = new HashSet<Guid>();
        foreach (var duplicate in certain)
        {
            try
            {
                await using var scope = scopes.CreateAsyncScope();
                merged.Add(await scope.ServiceProvider.GetRequiredService<MergeDuplicate>().RunAsync(
                    duplicate, new() { Reason = $"Merged by {Contracts.Ids.DuplicateScan.Format(scan)}: probability {duplicate.Probability:0.0000}" }, "svc:contacts",
                    () => RequireCertainAsync(duplicate, threshold, ct), ct));
            }
            catch (Exception exception) when (exception is ProblemException or RuleViolationException)
            {
                // It stays in the queue for somebody to look at.
                LogNotMerged(Contracts.Ids.Duplicate.Format(duplicate.Id), exception.Message);
            }
        }

        return merged.Count;
    }

    /// <summary>
    /// As the two are at the merge: one that was merged before it, or an edit since they were compared, may have given one of
    /// them an id, a name, a legal form, a birth date or a value of a unique field that differs.
    /// </summary>
    /// <exception cref="RuleViolationException">Somebody is to look at them.</exception>
    private async Task RequireCertainAsync(Duplicate duplicate, double threshold, CancellationToken ct)
    {
        Guid[] ids = [duplicate.LowId, duplicate.HighId];
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        var customers = await ReadAsync(connection, ids, await ProveNothingAsync(connection, ids, ct), ct);
        await using var unique = new NpgsqlCommand("""
            SELECT EXISTS (SELECT FROM custom_fields f, customers a, customers b
                WHERE f."unique" AND a.id = @low AND b.id = @high AND a.attributes -> f.name <> b.attributes -> f.name)
            """, connection);
        unique.Parameters.Add(new NpgsqlParameter<Guid>("low", duplicate.LowId));
        unique.Parameters.Add(new NpgsqlParameter<Guid>("high", duplicate.HighId));
        if (customers.Count < 2 || (bool)(await unique.ExecuteScalarAsync(ct))!)
        {
            throw new RuleViolationException("A value that only one customer can have differs.");
        }

        var (a, b) = (customers[duplicate.LowId], customers[duplicate.HighId]);
        if (Found.Of(await models.OfAsync(a.Organization, ct), a, b) is not { Unasked: true } now || now.Score.Probability < threshold)
        {
            throw new RuleViolationException("As the two are now, something differs.");
        }
    }

    private Task ProgressAsync(Guid scan, long records, long compared, long found, CancellationToken ct) => ExecuteAsync(
        "UPDATE duplicate_scans SET records = @records, compared = @compared, found = @found WHERE id = @scan", ct,
        new NpgsqlParameter<Guid>("scan", scan), new NpgsqlParameter<long>("records", records), new NpgsqlParameter<long>("compared", compared), new NpgsqlParameter<long>("found", found));

    private async Task ExecuteAsync(string sql, CancellationToken ct, params NpgsqlParameter[] parameters)
    {
        await using var command = dataSource.CreateCommand(sql);
        command.Parameters.AddRange(parameters);
        await command.ExecuteNonQueryAsync(ct);
    }

    private NpgsqlParameter<DateTimeOffset> Now() => new("now", clock.GetUtcNow());

    [LoggerMessage(LogLevel.Warning, "{Id} was not merged: {Reason}")]
    private partial void LogNotMerged(string id, string reason);

    internal sealed record Found(Guid A, Guid B, MatchScore Score, bool Unasked)
    {
        public static Found Of(MatchModel model, MatchRecord a, MatchRecord b)
        {
            var vector = model.Compare(a, b);
            return new(a.Id, b.Id, model.Score(a, b, vector), MatchModel.MayMergeUnasked(a, b, vector));
        }
    }
}

using System.Data;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Crm.Hosting.Audit;

/// <summary>
/// Links the entries of the audit log into a hash chain, a moment after their commit, so that no writer waits for
/// another one; and verifies or exports it by command. An entry that is changed, taken out or put in later breaks it, and
/// so does one whose values are gone although no entry says that they were erased.
/// </summary>
internal sealed partial class AuditChain(NpgsqlDataSource dataSource, TimeProvider clock, ILogger<AuditChain> logger)
    : RepeatedWork(TimeSpan.FromSeconds(1), clock, logger)
{
    private const int Batch = 1000;
    private const long LockKey = 0x43524D_415544; // "CRMAUD"
    private const string Columns = "id, at, actor, trace_id, action, record_type, record_id, customer_id, digest";

    private static readonly byte[] Start = new byte[32];

    /// <summary>Between two log lines with the head.</summary>
    private static readonly TimeSpan HeadPeriod = TimeSpan.FromHours(1);

    private DateTimeOffset _nextHead;

    protected override async Task RunAsync(CancellationToken ct)
    {
        while (await LinkAsync(ct) == Batch)
        {
            // More is waiting.
        }

        if (Clock.GetUtcNow() is var now && now >= _nextHead)
        {
            await using var connection = await dataSource.OpenConnectionAsync(ct);
            var (seq, hash) = await HeadAsync(connection, ct);
            if (seq > 0)
            {
                // Whoever can rewrite the database cannot rewrite the log store.
                LogHead(Logger, seq, Convert.ToHexStringLower(hash));
                _nextHead = now + HeadPeriod;
            }
        }
    }

    /// <summary>
    /// The command: <c>--audit verify [--head SEQ:HASH]… | export</c>. Exit code 1 when the chain is broken, or is not the
    /// one that had these heads.
    /// </summary>
    public async Task<int> RunCommandAsync(IReadOnlyList<string> arguments, TextWriter output, CancellationToken ct)
    {
        switch (arguments)
        {
            case ["verify", ..] when TryReadHeads([.. arguments.Skip(1)], out var heads):
                while (await LinkAsync(ct) == Batch)
                {
                    // What was committed just now is verified too.
                }

                return await VerifyAsync(heads, output, ct);
            case ["export"]:
                await ExportAsync(output, ct);
                return 0;
            default:
                await output.WriteLineAsync("usage: --audit verify [--head SEQ:HASH]… | export");
                return 2;
        }
    }

    /// <summary>One replica at a time; the others find nothing to do.</summary>
    private async Task<int> LinkAsync(CancellationToken ct)
    {
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        if (!await TryTakeAsync(connection, ct))
        {
            return 0;
        }

        var (seq, hash) = await HeadAsync(connection, ct);
        var (ids, hashes, first) = (new List<Guid>(), new List<byte[]>(), seq + 1);
        await using (var select = new NpgsqlCommand($"SELECT {Columns} FROM audit_entry WHERE seq IS NULL ORDER BY id LIMIT {Batch}", connection))
        await using (var reader = await select.ExecuteReaderAsync(ct))
        {
            while (await reader.ReadAsync(ct))
            {
                hash = Hash(hash, ++seq, reader);
                ids.Add(reader.GetGuid(0));
                hashes.Add(hash);
            }
        }

        if (ids.Count > 0)
        {
            await using var update = new NpgsqlCommand("""
                UPDATE audit_entry e SET seq = @first + n.ordinality - 1, hash = n.hash
                FROM unnest(@ids, @hashes) WITH ORDINALITY AS n (id, hash, ordinality) WHERE e.id = n.id
                """, connection);
            update.Parameters.Add(new NpgsqlParameter<long>("first", first));
            update.Parameters.Add(new NpgsqlParameter<Guid[]>("ids", [.. ids]));
            update.Parameters.Add(new NpgsqlParameter<byte[][]>("hashes", [.. hashes]));
            await update.ExecuteNonQueryAsync(ct);
            await AdvanceAsync(connection, seq, hash, ct);
            await transaction.CommitAsync(ct);
        }

        return ids.Count;
    }

    /// <summary>
    /// Links entries that are about to be stored in the connection's transaction, which holds the chain until it ends. They
    /// stay without a place when somebody else is at it: they get theirs afterwards.
    /// </summary>
    internal static async Task TryLinkAsync(NpgsqlConnection connection, IEnumerable<AuditEntry> entries, CancellationToken ct)
    {
        if (!await TryTakeAsync(connection, ct))
        {
            return;
        }

        var (seq, hash) = await HeadAsync(connection, ct);
        foreach (var e in entries)
        {
            hash = AuditEntry.Chain(hash, ++seq, e.Id, e.At, e.Actor, e.TraceId, e.Action, e.RecordType, e.RecordId, e.CustomerId, e.Digest);
            e.Link(seq, hash);
        }

        await AdvanceAsync(connection, seq, hash, ct);
    }

    private static async Task<bool> TryTakeAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var take = new NpgsqlCommand("SELECT pg_try_advisory_xact_lock(@key)", connection);
        take.Parameters.Add(new NpgsqlParameter<long>("key", LockKey));
        return await take.ExecuteScalarAsync(ct) is true;
    }

    private static async Task AdvanceAsync(NpgsqlConnection connection, long seq, byte[] hash, CancellationToken ct)
    {
        await using var update = new NpgsqlCommand("UPDATE audit_head SET seq = @seq, hash = @hash", connection);
        update.Parameters.Add(new NpgsqlParameter<long>("seq", seq));
        update.Parameters.Add(new NpgsqlParameter<byte[]>("hash", hash));
        await update.ExecuteNonQueryAsync(ct);
    }

    /// <param name="kept">Heads that somebody wrote down.</param>
    private async Task<int> VerifyAsync(IReadOnlyList<Head> kept, TextWriter output, CancellationToken ct)
    {
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        // One state: values are erased together with the entry that says so.
        await using var transaction = await connection.BeginTransactionAsync(IsolationLevel.RepeatableRead, ct);
        if (await StoredHeadAsync(connection, ct) is not { } stored)
        {
            return await BrokenAsync("the row of audit_head is missing");
        }

        var walk = new Walk(kept.Append(stored).ToLookup(h => h.Seq, h => h.Hash));
        if (await walk.FindBreakAsync(connection, ct) is { } found)
        {
            return await BrokenAsync(found);
        }

        var waiting = await WaitingAsync(connection, ct);
        await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
            $"whole: {walk.Last} entries, {walk.Erased} with erased values, {(waiting > 0 ? $"{waiting} more not linked yet, " : "")}head {walk.Last}:{Convert.ToHexStringLower(walk.LastHash)}"));
        return 0;

        async Task<int> BrokenAsync(string where)
        {
            await output.WriteLineAsync($"BROKEN: {where}");
            return 1;
        }
    }

    /// <summary>A line of JSON an entry, without values: for a SIEM, and to hold a head outside that nobody here can rewrite.</summary>
    private async Task ExportAsync(TextWriter output, CancellationToken ct)
    {
        await using var select = dataSource.CreateCommand($"SELECT {Columns}, seq, hash FROM audit_entry WHERE seq IS NOT NULL ORDER BY seq");
        select.CommandTimeout = 0;
        await using var reader = await select.ExecuteReaderAsync(ct);
        while (await reader.ReadAsync(ct))
        {
            await output.WriteLineAsync(JsonSerializer.Serialize(new
            {
                seq = reader.GetInt64(9),
                id = reader.GetGuid(0),
                at = reader.GetFieldValue<DateTimeOffset>(1),
                actor = reader.GetString(2),
                trace_id = reader.IsDBNull(3) ? null : reader.GetString(3),
                action = reader.GetString(4),
                record_type = reader.GetString(5),
                record_id = reader.GetGuid(6),
                customer_id = reader.IsDBNull(7) ? (Guid?)null : reader.GetGuid(7),
                digest = Convert.ToHexStringLower(reader.GetFieldValue<byte[]>(8)),
                hash = Convert.ToHexStringLower(reader.GetFieldValue<byte[]>(10)),
            }));
        }
    }

    /// <summary>
    /// Where to go on: what was linked and is cut off is not linked over. The release before knows no <c>audit_head</c>, so
    /// the chain may be longer.
    /// </summary>
    private static async Task<Head> HeadAsync(NpgsqlConnection connection, CancellationToken ct) => await ReadHeadAsync("""
        SELECT seq, hash FROM (
            SELECT seq, hash FROM audit_head
            UNION ALL (SELECT seq, hash FROM audit_entry WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1)) AS h
        ORDER BY seq DESC LIMIT 1
        """, connection, ct) ?? new(0, Start);

    private static Task<Head?> StoredHeadAsync(NpgsqlConnection connection, CancellationToken ct) => ReadHeadAsync("SELECT seq, hash FROM audit_head", connection, ct);

    private static async Task<Head?> ReadHeadAsync(string sql, NpgsqlConnection connection, CancellationToken ct)
    {
        await using var select = new NpgsqlCommand(sql, connection);
        await using var reader = await select.ExecuteReaderAsync(ct);
        return await reader.ReadAsync(ct) ? new(reader.GetInt64(0), reader.GetFieldValue<byte[]>(1)) : null;
    }

    /// <summary>The entries whose values were erased, as entries of the log say (0004_audit_guards.sql), which may not be linked yet.</summary>
    private static async Task<HashSet<Guid>> ErasedAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var select = new NpgsqlCommand("""
            SELECT e.digest, v.salt, v.changes FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id
            WHERE e.record_type = 'audit_value' AND e.action = 'erased'
            """, connection) { CommandTimeout = 0 };
        await using var reader = await select.ExecuteReaderAsync(ct);
        var erased = new HashSet<Guid>();
        while (await reader.ReadAsync(ct))
        {
            var changes = reader.GetString(2);
            if (AuditValue.Digest(reader.GetFieldValue<byte[]>(1), changes).AsSpan().SequenceEqual(reader.GetFieldValue<byte[]>(0)))
            {
                erased.UnionWith(JsonNode.Parse(changes)!["entry_ids"]!["new"]!.AsArray().Select(id => Guid.Parse((string)id!)));
            }
        }

        return erased;
    }

    /// <summary>The release before records no erasure when it undoes an import; that the customer was removed is in the chain.</summary>
    private static async Task<(long Seq, Guid Id)?> FirstMissingAsync(
        NpgsqlConnection connection, IReadOnlyList<(long Seq, Guid Id, Guid? Customer)> unexplained, CancellationToken ct)
    {
        if (unexplained.Count == 0)
        {
            return null;
        }

        await using var select = new NpgsqlCommand("""
            SELECT record_id FROM audit_entry
            WHERE record_type = 'customer' AND record_id = ANY (@customers) AND action = 'removed' AND seq IS NOT NULL
            """, connection) { CommandTimeout = 0 };
        select.Parameters.Add(new NpgsqlParameter<Guid[]>("customers", [.. unexplained.Select(u => u.Customer).OfType<Guid>().Distinct()]));
        await using var reader = await select.ExecuteReaderAsync(ct);
        var removed = new HashSet<Guid>();
        while (await reader.ReadAsync(ct))
        {
            removed.Add(reader.GetGuid(0));
        }

        return unexplained.Where(u => u.Customer is not { } customer || !removed.Contains(customer)).Select(u => ((long, Guid)?)(u.Seq, u.Id)).FirstOrDefault();
    }

    private static async Task<long> WaitingAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var count = new NpgsqlCommand("SELECT count(*) FROM audit_entry WHERE seq IS NULL", connection) { CommandTimeout = 0 };
        return (long)(await count.ExecuteScalarAsync(ct))!;
    }

    private static bool TryReadHeads(IReadOnlyList<string> options, out List<Head> heads)
    {
        heads = [];
        for (var i = 0; i < options.Count; i += 2)
        {
            if (options[i] != "--head" || i + 1 == options.Count || Head.Parse(options[i + 1]) is not { } head)
            {
                return false;
            }

            heads.Add(head);
        }

        return true;
    }

    private static byte[] Hash(byte[] previous, long seq, NpgsqlDataReader reader) => AuditEntry.Chain(
        previous,
        seq,
        reader.GetGuid(0),
        reader.GetFieldValue<DateTimeOffset>(1),
        reader.GetString(2),
        reader.IsDBNull(3) ? null : reader.GetString(3),
        reader.GetString(4),
        reader.GetString(5),
        reader.GetGuid(6),
        reader.IsDBNull(7) ? null : reader.GetGuid(7),
        reader.GetFieldValue<byte[]>(8));

    [LoggerMessage(LogLevel.Information, "The head of the audit log is {Seq}:{Hash}")]
    private static partial void LogHead(ILogger logger, long seq, string hash);

    /// <summary>An entry and the hash that covers it and everything before it.</summary>
    private sealed record Head(long Seq, byte[] Hash)
    {
        public static Head? Parse(string text) => text.Split(':') is [var seq, { Length: 64 } hash] && hash.All(char.IsAsciiHexDigit)
            && long.TryParse(seq, NumberStyles.None, CultureInfo.InvariantCulture, out var place) ? new(place, Convert.FromHexString(hash)) : null;
    }

    /// <summary>A verification, from the first entry to the last.</summary>
    /// <param name="heads">By their place the hashes that the chain must have there.</param>
    private sealed class Walk(ILookup<long, byte[]> heads)
    {
        private readonly List<(long Seq, Guid Id, Guid? Customer)> _unexplained = [];

        public long Last { get; private set; }

        public byte[] LastHash { get; private set; } = Start;

        /// <summary>How many entries have no values any more.</summary>
        public long Erased { get; private set; }

        /// <returns>Where the chain is broken; null when it is whole.</returns>
        public async Task<string?> FindBreakAsync(NpgsqlConnection connection, CancellationToken ct)
        {
            if (IsAnother(0, Start))
            {
                return "a head of the empty log is not that of this one";
            }

            var recorded = await ErasedAsync(connection, ct);
            await using (var select = new NpgsqlCommand($"""
                SELECT {Columns}, seq, hash, v.salt, v.changes FROM audit_entry e LEFT JOIN audit_value v ON v.entry_id = e.id
                WHERE seq IS NOT NULL ORDER BY seq
                """, connection) { CommandTimeout = 0 })
            await using (var reader = await select.ExecuteReaderAsync(ct))
            {
                while (await reader.ReadAsync(ct))
                {
                    if (FindBreak(reader, recorded) is { } found)
                    {
                        return found;
                    }
                }
            }

            if (heads.Max(h => h.Key) is var end && end > Last)
            {
                return $"it ends with entry {Last}, and had {end}";
            }

            return await FirstMissingAsync(connection, _unexplained, ct) is { } missing
                ? $"the values of entry {missing.Seq} ({missing.Id}) are missing, and no entry says that they were erased"
                : null;
        }

        /// <summary>Goes on to the next entry.</summary>
        private string? FindBreak(NpgsqlDataReader reader, HashSet<Guid> recorded)
        {
            var (seq, id) = (reader.GetInt64(9), reader.GetGuid(0));
            if (seq != Last + 1)
            {
                return $"entry {Last + 1} is missing";
            }

            var hash = Hash(LastHash, seq, reader);
            if (!hash.AsSpan().SequenceEqual(reader.GetFieldValue<byte[]>(10)))
            {
                return $"entry {seq} ({id}) is not what was chained";
            }

            if (reader.IsDBNull(11))
            {
                Erased++;
                if (!recorded.Contains(id))
                {
                    _unexplained.Add((seq, id, reader.IsDBNull(7) ? (Guid?)null : reader.GetGuid(7)));
                }
            }
            else if (!AuditValue.Digest(reader.GetFieldValue<byte[]>(11), reader.GetString(12)).AsSpan().SequenceEqual(reader.GetFieldValue<byte[]>(8)))
            {
                return $"the values of entry {seq} ({id}) are not what was recorded";
            }

            (LastHash, Last) = (hash, seq);
            return IsAnother(Last, LastHash) ? $"entry {seq} ({id}) is not the head that was kept of it" : null;
        }

        private bool IsAnother(long seq, byte[] hash) => heads[seq].Any(h => !h.AsSpan().SequenceEqual(hash));
    }
}

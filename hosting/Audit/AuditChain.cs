using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Crm.Hosting.Audit;

/// <summary>
/// Links the entries of the audit log into a hash chain, a moment after their commit, so that no writer waits for
/// another one; and verifies or exports it by command. An entry that is changed, taken out or put in later breaks it.
/// </summary>
internal sealed class AuditChain(NpgsqlDataSource dataSource, TimeProvider clock, ILogger<AuditChain> logger)
    : RepeatedWork(TimeSpan.FromSeconds(1), clock, logger)
{
    private const int Batch = 1000;
    private const long LockKey = 0x43524D_415544; // "CRMAUD"
    private const string Columns = "id, at, actor, trace_id, action, record_type, record_id, customer_id, digest";

    private static readonly byte[] Start = new byte[32];

    protected override async Task RunAsync(CancellationToken ct)
    {
        while (await LinkAsync(ct) == Batch)
        {
            // More is waiting.
        }
    }

    /// <summary>The command: <c>--audit verify | export</c>. Exit code 1 when the chain is broken.</summary>
    public async Task<int> RunCommandAsync(IReadOnlyList<string> arguments, TextWriter output, CancellationToken ct)
    {
        switch (arguments)
        {
            case ["verify"]:
                while (await LinkAsync(ct) == Batch)
                {
                    // What was committed just now is verified too.
                }

                return await VerifyAsync(output, ct);
            case ["export"]:
                await ExportAsync(output, ct);
                return 0;
            default:
                await output.WriteLineAsync("usage: --audit verify | export");
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
    }

    private static async Task<bool> TryTakeAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var take = new NpgsqlCommand("SELECT pg_try_advisory_xact_lock(@key)", connection);
        take.Parameters.Add(new NpgsqlParameter<long>("key", LockKey));
        return await take.ExecuteScalarAsync(ct) is true;
    }

    private async Task<int> VerifyAsync(TextWriter output, CancellationToken ct)
    {
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        await using var select = new NpgsqlCommand($"""
            SELECT {Columns}, seq, hash, v.salt, v.changes FROM audit_entry e LEFT JOIN audit_value v ON v.entry_id = e.id
            WHERE seq IS NOT NULL ORDER BY seq
            """, connection) { CommandTimeout = 0 };
        await using var reader = await select.ExecuteReaderAsync(ct);
        var (previous, last, erased) = (Start, 0L, 0L);
        while (await reader.ReadAsync(ct))
        {
            var seq = reader.GetInt64(9);
            if (seq != last + 1)
            {
                return await BrokenAsync($"entry {last + 1} is missing");
            }

            var hash = Hash(previous, seq, reader);
            if (!hash.AsSpan().SequenceEqual(reader.GetFieldValue<byte[]>(10)))
            {
                return await BrokenAsync($"entry {seq} ({reader.GetGuid(0)}) is not what was chained");
            }

            if (reader.IsDBNull(11))
            {
                erased++;
            }
            else if (!AuditValue.Digest(reader.GetFieldValue<byte[]>(11), reader.GetString(12)).AsSpan().SequenceEqual(reader.GetFieldValue<byte[]>(8)))
            {
                return await BrokenAsync($"the values of entry {seq} ({reader.GetGuid(0)}) are not what was recorded");
            }

            (previous, last) = (hash, seq);
        }

        await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
            $"whole: {last} entries, {erased} with erased values, head {Convert.ToHexStringLower(previous)}"));
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

    private static async Task<(long Seq, byte[] Hash)> HeadAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var select = new NpgsqlCommand("SELECT seq, hash FROM audit_entry WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1", connection);
        await using var reader = await select.ExecuteReaderAsync(ct);
        return await reader.ReadAsync(ct) ? (reader.GetInt64(0), reader.GetFieldValue<byte[]>(1)) : (0, Start);
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
}

using System.Globalization;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Matching;
using Crm.Hosting;
using Npgsql;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>
/// Makes the blocking keys of customers that have none: those that are older than the keys, or that a process of the build
/// before wrote while this one was rolled out; and of those whose keys an earlier <see cref="BlockingKeys.Version"/> made
/// otherwise. Any number of replicas may run.
/// </summary>
internal sealed class MakeMatchKeys(NpgsqlDataSource dataSource, TimeProvider clock, ILogger<MakeMatchKeys> logger) : RepeatedWork(TimeSpan.FromSeconds(5), clock, logger)
{
    private const int Batch = 1000;

    protected override async Task RunAsync(CancellationToken ct)
    {
        while (await StepAsync(MakeMissingAsync, ct) == Batch)
        {
        }

        while (await StepAsync(RemakeOutdatedAsync, ct) == Batch)
        {
        }
    }

    private async Task<int> StepAsync(Func<NpgsqlConnection, CancellationToken, Task<int>> make, CancellationToken ct)
    {
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        var made = await make(connection, ct);
        await transaction.CommitAsync(ct);
        return made;
    }

    private static async Task<int> MakeMissingAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var read = new NpgsqlCommand($"SELECT {MatchRows.Columns} FROM customers c WHERE match_keys IS NULL ORDER BY id LIMIT {Batch} FOR UPDATE SKIP LOCKED", connection);
        return await MakeAsync(connection, read, ct);
    }

    /// <returns>How many were on the list; of one that was erased since then no keys are made.</returns>
    private static async Task<int> RemakeOutdatedAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var take = new NpgsqlCommand($"""
            WITH taken AS (
                DELETE FROM outdated_match_keys WHERE customer_id IN (SELECT customer_id FROM outdated_match_keys ORDER BY 1 LIMIT {Batch} FOR UPDATE SKIP LOCKED)
                RETURNING customer_id)
            SELECT coalesce(array_agg(customer_id), ARRAY[]::uuid[]) FROM taken
            """, connection);
        var taken = (Guid[])(await take.ExecuteScalarAsync(ct))!;
        if (taken.Length > 0)
        {
            await using var read = new NpgsqlCommand($"SELECT {MatchRows.Columns} FROM customers c WHERE id = ANY (@ids) AND match_keys <> '{{}}' ORDER BY id FOR UPDATE", connection);
            read.Parameters.Add(new NpgsqlParameter<Guid[]>("ids", taken));
            await MakeAsync(connection, read, ct);
        }

        return taken.Length;
    }

    private static async Task<int> MakeAsync(NpgsqlConnection connection, NpgsqlCommand read, CancellationToken ct)
    {
        var (ids, keys) = (new List<Guid>(), new List<string>());
        await using (var rows = await read.ExecuteReaderAsync(ct))
        {
            while (await rows.ReadAsync(ct))
            {
                var fields = MatchRows.Read(rows);
                ids.Add(fields.Id);
                keys.Add($"{{{string.Join(',', CustomerMatching.MatchKeysOf(fields).Select(k => k.ToString(CultureInfo.InvariantCulture)))}}}");
            }
        }

        if (ids.Count > 0)
        {
            await using var write = new NpgsqlCommand("UPDATE customers c SET match_keys = made.keys::bigint[] FROM unnest(@ids, @keys) AS made (id, keys) WHERE c.id = made.id", connection);
            write.Parameters.Add(new NpgsqlParameter<Guid[]>("ids", [.. ids]));
            write.Parameters.Add(new NpgsqlParameter<string[]>("keys", [.. keys]));
            await write.ExecuteNonQueryAsync(ct);
        }

        return ids.Count;
    }
}

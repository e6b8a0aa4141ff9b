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

    private static async Task<int> MakeMissingAsync(NpgsqlConnection connection, CancellationToken ct) =>
        (await MakeAsync(connection, "customers c WHERE c.match_keys IS NULL", ct)).Count;

    /// <returns>How many were taken off the list; who is being changed stays on it until the next round.</returns>
    private static async Task<int> RemakeOutdatedAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        var made = await MakeAsync(connection, "customers c JOIN outdated_match_keys o ON o.customer_id = c.id WHERE c.match_keys <> '{}'", ct);

        // Of one that was erased since then no keys are made.
        await using var done = new NpgsqlCommand("""
            DELETE FROM outdated_match_keys o USING customers c WHERE c.id = o.customer_id AND (o.customer_id = ANY (@made) OR c.match_keys = '{}')
            """, connection);
        done.Parameters.Add(new NpgsqlParameter<Guid[]>("made", [.. made]));
        await done.ExecuteNonQueryAsync(ct);
        return made.Count;
    }

    /// <returns>Whose were made. Nobody waits for who is being changed, nor is anybody held up who writes what belongs to a customer.</returns>
    private static async Task<List<Guid>> MakeAsync(NpgsqlConnection connection, string whose, CancellationToken ct)
    {
        await using var read = new NpgsqlCommand($"SELECT {MatchRows.Columns} FROM {whose} ORDER BY c.id LIMIT {Batch} FOR NO KEY UPDATE OF c SKIP LOCKED", connection);
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

        return ids;
    }
}

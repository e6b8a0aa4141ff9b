using System.Globalization;
using Crm.Contacts.Domain;
using Crm.Hosting;
using Npgsql;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>
/// Makes the blocking keys of customers that have none: those that are older than the keys, or that a process of the build
/// before wrote while this one was rolled out. Any number of replicas may run.
/// </summary>
internal sealed class MakeMatchKeys(NpgsqlDataSource dataSource, TimeProvider clock, ILogger<MakeMatchKeys> logger) : RepeatedWork(TimeSpan.FromSeconds(5), clock, logger)
{
    private const int Batch = 1000;

    protected override async Task RunAsync(CancellationToken ct)
    {
        while (await StepAsync(ct) == Batch)
        {
        }
    }

    private async Task<int> StepAsync(CancellationToken ct)
    {
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        var (ids, keys) = (new List<Guid>(), new List<string>());
        await using (var read = new NpgsqlCommand($"SELECT {MatchRows.Columns} FROM customers c WHERE match_keys IS NULL ORDER BY id LIMIT {Batch} FOR UPDATE SKIP LOCKED", connection))
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

        await transaction.CommitAsync(ct);
        return ids.Count;
    }
}

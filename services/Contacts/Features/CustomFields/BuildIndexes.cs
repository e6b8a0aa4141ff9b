using Crm.Contacts.Domain.CustomFields;
using Crm.Hosting;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>
/// Makes the indexes of <c>customers</c> what the definitions want, while customers are read and written. Any number of
/// replicas may run: a lock that ends with the connection says who builds. A build that was broken off leaves an invalid
/// index, which is dropped and made anew.
/// </summary>
internal sealed partial class BuildIndexes(IServiceScopeFactory scopes, NpgsqlDataSource dataSource, TimeProvider clock, ILogger<BuildIndexes> logger)
    : RepeatedWork(TimeSpan.FromSeconds(1), clock, logger)
{
    private const int MostAttempts = 5;

    protected override async Task RunAsync(CancellationToken ct)
    {
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        if (!(await PlanAsync(connection, ct)).IsEmpty)
        {
            await WorkAsync(connection, ct);
        }
    }

    private async Task WorkAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        // Of the session, because an index is built outside of transactions.
        await using var take = new NpgsqlCommand("SELECT pg_try_advisory_lock(hashtextextended('customer indexes', 0))", connection);
        if (await take.ExecuteScalarAsync(ct) is not true)
        {
            return;
        }

        try
        {
            var plan = await PlanAsync(connection, ct);
            foreach (var name in plan.Drop)
            {
                await ExecuteAsync(connection, $"DROP STATISTICS IF EXISTS {name}", ct);
                await ExecuteAsync(connection, $"DROP INDEX CONCURRENTLY IF EXISTS {name}", ct);
                LogDropped(name);
            }

            var built = plan.Built.ToList();
            foreach (var field in plan.Build)
            {
                if (await BuildAsync(connection, field, ct))
                {
                    built.Add(field);
                }
            }

            foreach (var field in built)
            {
                await ExecuteAsync(connection, FieldIndex.CreateStatisticsSql(field), ct);
            }

            if (built.Count > 0)
            {
                await ExecuteAsync(connection, "ANALYZE customers", ct);
            }

            foreach (var field in built)
            {
                // Nothing happens when another type or none is wanted meanwhile.
                await using var ready = new NpgsqlCommand("""
                    UPDATE custom_fields SET index_state = 'ready', index_error = NULL
                    WHERE id = @id AND type = @type AND index_state = 'building'
                      AND EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(@name) AND indisvalid)
                    """, connection);
                Parameters(ready, field).AddWithValue("name", FieldIndex.NameOf(field));
                await ready.ExecuteNonQueryAsync(ct);
            }
        }
        finally
        {
            await using var give = new NpgsqlCommand("SELECT pg_advisory_unlock(hashtextextended('customer indexes', 0))", connection);
            await give.ExecuteNonQueryAsync(CancellationToken.None);
        }
    }

    /// <summary>False when it failed.</summary>
    private async Task<bool> BuildAsync(NpgsqlConnection connection, CustomField field, CancellationToken ct)
    {
        // One that was ready is gone, by a hand or a restore.
        await using (var begin = new NpgsqlCommand("UPDATE custom_fields SET index_state = 'building' WHERE id = @id AND type = @type AND index_state = 'ready'", connection))
        {
            Parameters(begin, field);
            await begin.ExecuteNonQueryAsync(ct);
        }

        try
        {
            await ExecuteAsync(connection, FieldIndex.CreateSql(field), ct);
            LogBuilt(field.Name);
            return true;
        }
        catch (PostgresException exception) when (!exception.IsTransient)
        {
            LogFailed(exception, field.Name);
            await using var failed = new NpgsqlCommand("""
                UPDATE custom_fields
                SET index_attempts = index_attempts + 1, index_error = @error, index_state = CASE WHEN index_attempts + 1 < @most THEN index_state ELSE 'failed' END
                WHERE id = @id AND type = @type AND index_state = 'building'
                """, connection);
            Parameters(failed, field).AddWithValue("error", exception.MessageText);
            failed.Parameters.AddWithValue("most", MostAttempts);
            await failed.ExecuteNonQueryAsync(ct);
            return false;
        }
    }

    private async Task<Plan> PlanAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var wanted = await scope.ServiceProvider.GetRequiredService<ContactsDb>().CustomFields.AsNoTracking()
            .Where(f => f.IndexState == FieldIndexState.Building || f.IndexState == FieldIndexState.Ready).OrderBy(f => f.Id).ToDictionaryAsync(FieldIndex.NameOf, ct);
        var there = new Dictionary<string, bool>(StringComparer.Ordinal);
        await using (var look = new NpgsqlCommand("""
            SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = 'customers'::regclass AND starts_with(c.relname, @prefix)
            """, connection))
        {
            look.Parameters.AddWithValue("prefix", FieldIndex.Prefix);
            await using var rows = await look.ExecuteReaderAsync(ct);
            while (await rows.ReadAsync(ct))
            {
                there[rows.GetString(0)] = rows.GetBoolean(1);
            }
        }

        return new(
            [.. there.Where(i => !i.Value || !wanted.ContainsKey(i.Key)).Select(i => i.Key)],
            [.. wanted.Where(w => !there.GetValueOrDefault(w.Key)).Select(w => w.Value)],
            [.. wanted.Where(w => w.Value.IndexState == FieldIndexState.Building && there.GetValueOrDefault(w.Key)).Select(w => w.Value)]);
    }

    private static NpgsqlParameterCollection Parameters(NpgsqlCommand command, CustomField field)
    {
        command.Parameters.AddWithValue("id", field.Id);
        command.Parameters.AddWithValue("type", Hosting.Data.EnumColumns.ToWord(field.Type));
        return command.Parameters;
    }

#pragma warning disable CA2100 // Names and expressions are made of ids and slugs.
    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 0 };
        await command.ExecuteNonQueryAsync(ct);
    }
#pragma warning restore CA2100

    /// <param name="Drop">Invalid indexes, and those that nobody wants.</param>
    /// <param name="Built">Wanted, and there already: whoever built it was ended before it could say so.</param>
    private sealed record Plan(IReadOnlyList<string> Drop, IReadOnlyList<CustomField> Build, IReadOnlyList<CustomField> Built)
    {
        public bool IsEmpty => Drop.Count + Build.Count + Built.Count == 0;
    }

    [LoggerMessage(LogLevel.Information, "The index of the custom field {Field} is built")]
    private partial void LogBuilt(string field);

    [LoggerMessage(LogLevel.Information, "The index {Index} is dropped")]
    private partial void LogDropped(string index);

    [LoggerMessage(LogLevel.Error, "The index of the custom field {Field} was not built")]
    private partial void LogFailed(Exception exception, string field);
}

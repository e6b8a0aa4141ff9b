using Crm.Contacts.Domain.CustomFields;
using Crm.Hosting;
using Microsoft.EntityFrameworkCore;
using Npgsql;

#pragma warning disable CA2100 // Names, columns and expressions are made of ids and slugs.

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
            foreach (var index in plan.Build)
            {
                if (await BuildAsync(connection, index, ct))
                {
                    built.Add(index);
                }
            }

            foreach (var index in built.Where(i => !i.Unique))
            {
                await ExecuteAsync(connection, FieldIndex.CreateStatisticsSql(index.Field), ct);
            }

            if (built.Count > 0)
            {
                await ExecuteAsync(connection, "ANALYZE customers", ct);
            }

            foreach (var index in built)
            {
                // Nothing happens when another type or none is wanted meanwhile.
                await using var ready = new NpgsqlCommand($"""
                    UPDATE custom_fields SET {index.Columns}_state = 'ready', {index.Columns}_error = NULL
                    WHERE id = @id AND type = @type AND {index.Columns}_state = 'building'
                      AND EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(@name) AND indisvalid)
                    """, connection);
                Parameters(ready, index.Field).AddWithValue("name", index.Name);
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
    private async Task<bool> BuildAsync(NpgsqlConnection connection, FieldIndexOf index, CancellationToken ct)
    {
        // One that was ready is gone, by a hand or a restore.
        await using (var begin = new NpgsqlCommand($"UPDATE custom_fields SET {index.Columns}_state = 'building' WHERE id = @id AND type = @type AND {index.Columns}_state = 'ready'", connection))
        {
            Parameters(begin, index.Field);
            await begin.ExecuteNonQueryAsync(ct);
        }

        try
        {
            await ExecuteAsync(connection, index.CreateSql, ct);
            LogBuilt(index.Field.Name);
            return true;
        }
        catch (PostgresException exception) when (!exception.IsTransient)
        {
            // Values that came twice while nothing forbade it stay so until somebody changes them.
            var isTwice = exception.SqlState == PostgresErrorCodes.UniqueViolation;
            LogFailed(exception, index.Field.Name);
            await using var failed = new NpgsqlCommand($"""
                UPDATE custom_fields
                SET {index.Columns}_attempts = {index.Columns}_attempts + 1, {index.Columns}_error = @error,
                    {index.Columns}_state = CASE WHEN {index.Columns}_attempts + 1 < @most THEN {index.Columns}_state ELSE 'failed' END
                WHERE id = @id AND type = @type AND {index.Columns}_state = 'building'
                """, connection);
            Parameters(failed, index.Field).AddWithValue("error", isTwice ? "Several customers have the same value." : exception.MessageText);
            failed.Parameters.AddWithValue("most", isTwice ? 0 : MostAttempts);
            await failed.ExecuteNonQueryAsync(ct);
            return false;
        }
    }

    private async Task<Plan> PlanAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var fields = await scope.ServiceProvider.GetRequiredService<ContactsDb>().CustomFields.AsNoTracking()
            .Where(f => f.IndexState != null || f.UniqueState != null).OrderBy(f => f.Id).ToListAsync(ct);
        var wanted = fields.SelectMany(f => (FieldIndexOf[])[new(f, Unique: false), new(f, Unique: true)])
            .Where(i => i.State is FieldIndexState.Building or FieldIndexState.Ready).ToDictionary(i => i.Name);
        var there = new Dictionary<string, bool>(StringComparer.Ordinal);
        await using (var look = new NpgsqlCommand("""
            SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = 'customers'::regclass AND (starts_with(c.relname, @prefix) OR starts_with(c.relname, @unique))
            """, connection))
        {
            look.Parameters.AddWithValue("prefix", FieldIndex.Prefix);
            look.Parameters.AddWithValue("unique", FieldIndex.UniquePrefix);
            await using var rows = await look.ExecuteReaderAsync(ct);
            while (await rows.ReadAsync(ct))
            {
                there[rows.GetString(0)] = rows.GetBoolean(1);
            }
        }

        return new(
            [.. there.Where(i => !i.Value || !wanted.ContainsKey(i.Key)).Select(i => i.Key)],
            [.. wanted.Where(w => !there.GetValueOrDefault(w.Key)).Select(w => w.Value)],
            [.. wanted.Where(w => w.Value.State == FieldIndexState.Building && there.GetValueOrDefault(w.Key)).Select(w => w.Value)]);
    }

    private static NpgsqlParameterCollection Parameters(NpgsqlCommand command, CustomField field)
    {
        command.Parameters.AddWithValue("id", field.Id);
        command.Parameters.AddWithValue("type", Hosting.Data.EnumColumns.ToWord(field.Type));
        return command.Parameters;
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 0 };
        await command.ExecuteNonQueryAsync(ct);
    }

    /// <param name="Drop">Invalid indexes, and those that nobody wants.</param>
    /// <param name="Built">Wanted, and there already: whoever built it was ended before it could say so.</param>
    private sealed record Plan(IReadOnlyList<string> Drop, IReadOnlyList<FieldIndexOf> Build, IReadOnlyList<FieldIndexOf> Built)
    {
        public bool IsEmpty => Drop.Count + Build.Count + Built.Count == 0;
    }

    /// <summary>The index that a field is filtered by, or the one that keeps its values apart.</summary>
    private sealed record FieldIndexOf(CustomField Field, bool Unique)
    {
        public string Name => Unique ? FieldIndex.UniqueNameOf(Field) : FieldIndex.NameOf(Field);

        public string CreateSql => Unique ? FieldIndex.CreateUniqueSql(Field) : FieldIndex.CreateSql(Field);

        public FieldIndexState? State => Unique ? Field.UniqueState : Field.IndexState;

        /// <summary>How the columns begin that tell of it.</summary>
        public string Columns => Unique ? "unique" : "index";
    }

    [LoggerMessage(LogLevel.Information, "The index of the custom field {Field} is built")]
    private partial void LogBuilt(string field);

    [LoggerMessage(LogLevel.Information, "The index {Index} is dropped")]
    private partial void LogDropped(string index);

    [LoggerMessage(LogLevel.Error, "The index of the custom field {Field} was not built")]
    private partial void LogFailed(Exception exception, string field);
}

using Npgsql;

namespace Platform.Tests;

/// <summary>What the migrations of a later release do to the tables of the running one.</summary>
internal static class NextRelease
{
    /// <summary>A column to every table of a service, a transaction a table.</summary>
    public static async Task AddColumnsAsync(this Crm.Runner.Platform platform, string service, string name, CancellationToken ct)
    {
        await using var source = NpgsqlDataSource.Create(await platform.ConnectionStringAsync(service));
        await using var command = source.CreateCommand($"""
            DO $$
            DECLARE t text;
            BEGIN
                FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
                    EXECUTE format('ALTER TABLE public.%I ADD COLUMN {name} text NOT NULL DEFAULT ''''', t);
                    COMMIT;
                END LOOP;
            END $$
            """);
        await command.ExecuteNonQueryAsync(ct);
    }
}

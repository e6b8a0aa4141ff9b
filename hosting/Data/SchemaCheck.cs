using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Crm.Hosting.Data;

/// <summary>
/// A process does not start on a database that lacks a migration of its build. One whose database does not answer starts, and
/// is not ready until the database has answered and lacks none.
/// </summary>
internal sealed partial class SchemaCheck(Migrator migrator, ILogger<SchemaCheck> logger) : IHostedLifecycleService
{
    public async Task StartingAsync(CancellationToken cancellationToken)
    {
        try
        {
            using var quiet = QuietWork.Begin();
            if (await migrator.FindMissingAsync(cancellationToken) is { Count: > 0 } missing)
            {
                throw SchemaException.Missing(missing);
            }
        }
        catch (NpgsqlException exception)
        {
            LogUnknown(exception.Message);
        }
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    [LoggerMessage(LogLevel.Warning, "Whether the database has all migrations will be known when it answers ({Detail})")]
    private partial void LogUnknown(string detail);
}

/// <summary>The database has not the schema of this build; the message says what to do.</summary>
internal sealed class SchemaException : Exception
{
    /// <summary>sysexits(3): EX_CONFIG, what a program needs before it can run is not there.</summary>
    public const int NotMigrated = 78;

    private SchemaException(string message, int exitCode, Exception? inner = null)
        : base(message, inner) => ExitCode = exitCode;

    public int ExitCode { get; }

    public static SchemaException Missing(IEnumerable<string> migrations) =>
        new($"The database lacks migrations of this build, so the program does not start: {string.Join(", ", migrations)}. Run it with --migrate first.", NotMigrated);

    public static SchemaException Edited(string migration) =>
        new($"Migration {migration} was edited after it had been applied to this database: migrations are only added.", NotMigrated);

    public static SchemaException Failed(string migration, PostgresException e) =>
        new($"Migration {migration} failed, and nothing of it was kept: {e.SqlState}: {e.MessageText}. Correct the cause and run --migrate again; it goes on from here.", 1, e);
}

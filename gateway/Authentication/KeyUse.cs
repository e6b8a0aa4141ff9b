using NpgsqlTypes;
using Npgsql;

namespace Crm.Gateway.Authentication;

/// <summary>Writes down when keys were last used, each at most once a minute, and never on a request's time.</summary>
internal sealed partial class KeyUse(NpgsqlDataSource dataSource, KeyDirectory keys, TimeProvider clock, ILogger<KeyUse> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(5), clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                await WriteAsync(stoppingToken);
            }
        }
        finally
        {
            await WriteAsync(CancellationToken.None);
        }
    }

    private async Task WriteAsync(CancellationToken ct)
    {
        var used = keys.TakeUsed();
        if (used.Count == 0)
        {
            return;
        }

        try
        {
            using var quiet = OpenTelemetry.SuppressInstrumentationScope.Begin();
            await using var command = dataSource.CreateCommand("""
                UPDATE api_key AS k SET last_used_at = used.at
                FROM unnest(@ids, @instants) AS used (id, at)
                WHERE k.id = used.id AND (k.last_used_at IS NULL OR k.last_used_at <= used.at - interval '1 minute')
                """);
            command.Parameters.Add(new NpgsqlParameter("ids", NpgsqlDbType.Array | NpgsqlDbType.Uuid) { Value = used.Keys.ToArray() });
            command.Parameters.Add(new NpgsqlParameter("instants", NpgsqlDbType.Array | NpgsqlDbType.TimestampTz) { Value = used.Values.Select(v => v.UtcDateTime).ToArray() });
            await command.ExecuteNonQueryAsync(ct);
        }
        catch (NpgsqlException exception)
        {
            LogSkipped(exception.Message);
        }
    }

    [LoggerMessage(LogLevel.Warning, "The last use of keys was not written ({Reason})")]
    private partial void LogSkipped(string reason);
}

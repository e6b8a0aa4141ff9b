using Crm.Hosting;
using Npgsql;
using NpgsqlTypes;

namespace Crm.Gateway.Authentication;

/// <summary>Writes down when keys were last used, each at most once a minute, and never on a request's time.</summary>
internal sealed class KeyUse(NpgsqlDataSource dataSource, KeyDirectory keys, TimeProvider clock, ILogger<KeyUse> logger)
    : RepeatedWork(TimeSpan.FromSeconds(5), clock, logger)
{
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        await RoundAsync(cancellationToken);
    }

    protected override async Task RunAsync(CancellationToken ct)
    {
        var used = keys.TakeUsed();
        if (used.Count == 0)
        {
            return;
        }

        await using var command = dataSource.CreateCommand("""
            UPDATE api_key AS k SET last_used_at = used.at
            FROM unnest(@ids, @instants) AS used (id, at)
            WHERE k.id = used.id AND (k.last_used_at IS NULL OR k.last_used_at <= used.at - interval '1 minute')
            """);
        command.Parameters.Add(new NpgsqlParameter("ids", NpgsqlDbType.Array | NpgsqlDbType.Uuid) { Value = used.Keys.ToArray() });
        command.Parameters.Add(new NpgsqlParameter("instants", NpgsqlDbType.Array | NpgsqlDbType.TimestampTz) { Value = used.Values.Select(v => v.UtcDateTime).ToArray() });
        await command.ExecuteNonQueryAsync(ct);
    }
}

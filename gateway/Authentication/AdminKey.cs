using Crm.Gateway.Domain;
using Crm.Hosting.Messaging;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;

namespace Crm.Gateway.Authentication;

/// <summary>
/// The administrator's key as it is configured: inserted when it is new, and the one configured before is
/// revoked. The gateway is not ready before; a database that is away is waited for.
/// </summary>
internal sealed partial class AdminKey(IServiceScopeFactory scopes, IOptions<GatewayOptions> options, TimeProvider clock, ILogger<AdminKey> logger) : BackgroundService, IHealthCheck
{
    private volatile bool _done;

    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(_done ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy("The configured key is not in the database yet."));

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!_done)
        {
            try
            {
                await ApplyAsync(stoppingToken);
                _done = true;
            }
            catch (Exception exception) when (!stoppingToken.IsCancellationRequested)
            {
                LogWaiting(Transient.Is(exception) ? null : exception, exception.GetBaseException().Message);
                await Task.Delay(TimeSpan.FromMilliseconds(500), clock, stoppingToken);
            }
        }
    }

    private async Task ApplyAsync(CancellationToken ct)
    {
        // The start has checked what it looks like.
        if (options.Value.AdminKey?.Trim() is not { Length: > 0 } text || !KeySecret.TryParse(text, out var secret))
        {
            return;
        }

        using var scope = scopes.CreateScope();
        var db = scope.ServiceProvider.GetRequiredService<GatewayDb>();
        await using var transaction = await db.Database.BeginTransactionAsync(ct);
        await db.LockAsync(["admin key"], ct);
        var hash = secret.Hash();
        var now = clock.GetUtcNow();
        foreach (var earlier in await db.Keys.Where(k => k.CreatedBy == ApiKey.Bootstrap && k.SecretHash != hash && k.RevokedAt == null).ToListAsync(ct))
        {
            earlier.Revoke(now);
            LogRevoked(earlier.PublicId);
        }

        var key = await db.Keys.FirstOrDefaultAsync(k => k.SecretHash == hash, ct);
        if (key is null)
        {
            key = ApiKey.Create(secret, "administrator", [], null, null, ApiKey.Bootstrap, now);
            db.Keys.Add(key);
        }
        else if (key.RevokedAt is not null)
        {
            LogStaysRevoked(key.PublicId);
        }

        key.GrantAll(options.Value.AdminRequestsPerMinute);
        await db.SaveChangesAsync(ct);
        await transaction.CommitAsync(ct);
    }

    [LoggerMessage(LogLevel.Warning, "The configured key waits for the database ({Reason})")]
    private partial void LogWaiting(Exception? exception, string reason);

    [LoggerMessage(LogLevel.Information, "The key {KeyId} is revoked: another one is configured now")]
    private partial void LogRevoked(string keyId);

    [LoggerMessage(LogLevel.Warning, "The configured key {KeyId} was revoked and stays so; configure a new secret")]
    private partial void LogStaysRevoked(string keyId);
}

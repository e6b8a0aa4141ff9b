using Crm.Hosting.Data;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Npgsql;

namespace Crm.Hosting;

/// <summary>
/// Startup: the migrations of this build are applied, as far as the database says; one that does not answer is no reason to end
/// the process. Live: the process loop turns. Ready: the own database answers and has the migrations, and the process is not
/// stopping; never the broker, whose absence the outbox absorbs.
/// </summary>
public static class Health
{
    /// <summary>
    /// The connection that readiness asks over, and <see cref="DatabaseWatch"/>, but no request: with those of requests it would wait
    /// behind them, and a load that takes them all would take all replicas out at once.
    /// </summary>
    internal const string Readiness = "readiness";

    internal static void AddCrmHealth(this IServiceCollection services)
    {
        services.AddKeyedSingleton(Readiness, (provider, _) =>
        {
            var source = CrmService.DataSource(provider);
            source.Name = Readiness;
            (source.ConnectionStringBuilder.MinPoolSize, source.ConnectionStringBuilder.MaxPoolSize) = (0, 1);
            return source.Build();
        });
        // Registered, since a check that is not is made anew for each probe and remembers nothing.
        services.AddSingleton<MigrationsApplied>();
        services.AddSingleton<DatabaseAnswers>();
        services.AddHealthChecks()
            .AddCheck<MigrationsApplied>("migrations", tags: ["startup"])
            .AddCheck<DatabaseAnswers>("database", tags: ["ready"]);
    }

    public static void MapCrmHealth(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapHealthChecks("/health/startup", Options("startup")).AllowAnonymous().DisableHttpMetrics();
        endpoints.MapHealthChecks("/health/live", Options("live")).AllowAnonymous().DisableHttpMetrics();
        endpoints.MapHealthChecks("/health/ready", Options("ready")).AllowAnonymous().DisableHttpMetrics();
    }

    private static HealthCheckOptions Options(string tag) => new()
    {
        Predicate = check => check.Tags.Contains(tag),
        ResponseWriter = (http, report) => http.Response.WriteAsJsonAsync(new
        {
            Status = report.Status.ToString(),
            Checks = report.Entries.ToDictionary(e => e.Key, e => e.Value.Status.ToString()),
        }),
    };

    private sealed class MigrationsApplied(Migrator migrator) : IHealthCheck
    {
        /// <summary>Less than a kubelet waits for its probe.</summary>
        private static readonly TimeSpan Limit = TimeSpan.FromSeconds(2);

        /// <summary>Answered with 200: another process would find the same, and this one is not ready before it knows more.</summary>
        private static readonly HealthCheckResult Unknown = HealthCheckResult.Degraded("The database does not answer.");

        // One question at a time, that of the probe before if it is not answered: to take it back could last longer than the probe.
        private Task<bool> _asked = Task.FromResult(false);

        public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
        {
            if (_asked is { IsCompletedSuccessfully: true, Result: true })
            {
                return HealthCheckResult.Healthy();
            }

            if (_asked.IsCompleted)
            {
                _asked = migrator.IsCurrentAsync(CancellationToken.None);
            }

            try
            {
                return await _asked.WaitAsync(Limit, cancellationToken) ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy("Migrations are missing: run --migrate.");
            }
            catch (Exception exception) when (exception is NpgsqlException or TimeoutException)
            {
                return Unknown;
            }
        }
    }

    private sealed class DatabaseAnswers([FromKeyedServices(Readiness)] NpgsqlDataSource dataSource, IHostApplicationLifetime lifetime, Migrator migrator) : IHealthCheck
    {
        private bool _current;

        public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
        {
            if (lifetime.ApplicationStopping.IsCancellationRequested)
            {
                return HealthCheckResult.Unhealthy("Stopping.");
            }

            using var quiet = QuietWork.Begin();
            if (!_current)
            {
                _current = await migrator.IsCurrentAsync(cancellationToken);
                return _current ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy("Migrations are missing.");
            }

            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(TimeSpan.FromSeconds(2));
            await using var command = dataSource.CreateCommand("SELECT 1");
            await command.ExecuteScalarAsync(limit.Token);
            return HealthCheckResult.Healthy();
        }
    }
}

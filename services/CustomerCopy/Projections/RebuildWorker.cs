using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contracts;
using Crm.Hosting;
using Crm.Hosting.Data;
using Crm.Hosting.Messaging;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Crm.CustomerCopy.Projections;

/// <summary>
/// Carries rebuilds out, page by page. What a page repairs and how far the source has come are one transaction, which holds
/// the rebuild: whoever dies, the next replica goes on where the last page ended. Events are consumed meanwhile as ever, and
/// whichever is newer stays.
/// </summary>
internal sealed partial class RebuildWorker(
    IServiceScopeFactory scopes, IEnumerable<ServiceProjection> projections, ServiceName service, IOptions<RebuildOptions> options, TimeProvider clock, ILogger<RebuildWorker> logger)
    : RepeatedWork(TimeSpan.FromSeconds(1), clock, logger)
{
    /// <summary>In a row, those left out that are only of another service that is away.</summary>
    private const int MostFailures = 20;

    private readonly Dictionary<string, ServiceProjection> _projections = projections.ToDictionary(p => p.Name, StringComparer.Ordinal);

    /// <exception cref="InvalidOperationException">The projections are not those of the catalogue.</exception>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        var listed = ProjectionCatalog.Of(service.Value).Select(p => p.Name).ToHashSet(StringComparer.Ordinal);
        return listed.SetEquals(_projections.Keys)
            ? base.StartAsync(cancellationToken)
            : throw new InvalidOperationException($"The projections are not those of the catalogue, which are: {string.Join(", ", listed)}.");
    }

    protected override async Task RunAsync(CancellationToken ct)
    {
        while (!ct.IsCancellationRequested)
        {
            var start = Clock.GetTimestamp();
            if (!await StepAsync(ct))
            {
                return;
            }

            var (took, least) = (Clock.GetElapsedTime(start), TimeSpan.FromMilliseconds(options.Value.PauseMilliseconds));
            await Task.Delay(took > least ? took : least, Clock, ct);
        }
    }

    /// <summary>One page; false when there is nothing to do.</summary>
    private async Task<bool> StepAsync(CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<CustomerCopyDb>();
        using var unhurried = db.AllowLongStatements();
        await using var transaction = await db.Database.BeginTransactionAsync(ct);
        if ((await db.Database.SqlQuery<Running>($"""
            SELECT id, projection FROM rebuilds WHERE state = 'running' AND next_at <= now() ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
            """).ToListAsync(ct)) is not [var rebuild])
        {
            return false;
        }

        // A statement of its own: it sees the page before, which the lock may have waited for.
        var next = (await db.Database.SqlQuery<Next>($"""
            SELECT number, source, resume_after FROM rebuild_sources WHERE rebuild_id = {rebuild.Id} AND finished_at IS NULL ORDER BY number LIMIT 1
            """).ToListAsync(ct))[0];
        try
        {
            var source = _projections[rebuild.Projection].Sources(scope.ServiceProvider).First(s => s.Name == next.Source);
            var page = await source.ReadAsync(next.ResumeAfter, options.Value.PageRows, ct);
            if (!page.Last && page.End == next.ResumeAfter)
            {
                throw new InvalidOperationException($"{next.Source} does not go on after {page.Rows} rows.");
            }

            var repairs = await page.StoreAsync(ct);
            await AdvanceAsync(db, rebuild, next, page, repairs, ct);
            await transaction.CommitAsync(ct);
            if (page.Last)
            {
                LogSource(service.Value, rebuild.Projection, next.Source);
            }
        }
        catch (Exception exception) when (!ct.IsCancellationRequested)
        {
            await transaction.DisposeAsync();
            await RecordFailureAsync(rebuild, next, exception, ct);
        }

        return true;
    }

    private async Task AdvanceAsync(CustomerCopyDb db, Running rebuild, Next next, ProjectionPage page, Repairs repairs, CancellationToken ct)
    {
        var now = Clock.GetUtcNow();
        // An estimate that is not known is 0.
        var estimate = page.Estimate ?? 0;
        await db.Database.ExecuteSqlAsync($"""
            UPDATE rebuild_sources SET resume_after = {page.End}, row_count = row_count + {(long)page.Rows}, estimated_rows = nullif({estimate}, 0),
                repaired = repaired + {(long)repairs.Repaired}, removed = removed + {(long)repairs.Removed},
                started_at = coalesce(started_at, {now}), finished_at = CASE WHEN {page.Last} THEN {now} END
            WHERE rebuild_id = {rebuild.Id} AND number = {next.Number}
            """, ct);
        // The pause is one for all replicas. now() is when the page began.
        var least = TimeSpan.FromMilliseconds(options.Value.PauseMilliseconds);
        await db.Database.ExecuteSqlAsync($"""
            UPDATE rebuilds r SET failures = 0, error = NULL, next_at = clock_timestamp() + greatest({least}, clock_timestamp() - now()),
                state = CASE WHEN open THEN 'running' ELSE 'completed' END, finished_at = CASE WHEN NOT open THEN {now} END
            FROM (SELECT EXISTS (SELECT FROM rebuild_sources WHERE rebuild_id = {rebuild.Id} AND finished_at IS NULL) AS open) AS sources
            WHERE r.id = {rebuild.Id}
            """, ct);
    }

    /// <summary>The page is tried again, later each time; another rebuild has its turn meanwhile.</summary>
    private async Task RecordFailureAsync(Running rebuild, Next next, Exception exception, CancellationToken ct)
    {
        var away = IsAway(exception);
        LogFailed(away ? null : exception, service.Value, rebuild.Projection, next.Source, exception.GetType().Name);
        var (error, now) = (exception is RpcException rpc ? $"{nameof(RpcException)} {rpc.StatusCode}" : exception.GetBaseException().GetType().Name, Clock.GetUtcNow());
        var counted = away ? 0 : 1;
        await using var scope = scopes.CreateAsyncScope();
        await scope.ServiceProvider.GetRequiredService<CustomerCopyDb>().Database.ExecuteSqlAsync($"""
            UPDATE rebuilds SET failures = failures + {counted}, error = {error}, next_at = now() + least(interval '30 seconds', interval '1 second' * power(2, failures)),
                state = CASE WHEN failures + {counted} >= {MostFailures} THEN 'failed' ELSE state END,
                finished_at = CASE WHEN failures + {counted} >= {MostFailures} THEN {now} END
            WHERE id = {rebuild.Id} AND state = 'running'
            """, ct);
    }

    /// <summary>
    /// A peer or the database is away, or the peer is of a release that cannot do it yet: that is waited for, for ever. Who is
    /// there and does not come to an end in time may never do.
    /// </summary>
    private static bool IsAway(Exception exception) => exception is not RpcException { StatusCode: StatusCode.DeadlineExceeded } && Transient.Is(exception)
        || exception is RpcException { StatusCode: StatusCode.Unimplemented or StatusCode.Cancelled or StatusCode.Unauthenticated or StatusCode.PermissionDenied };

    [LoggerMessage(LogLevel.Information, "The rebuild of {Service}.{Projection} has all of {Source}")]
    private partial void LogSource(string service, string projection, string source);

    [LoggerMessage(LogLevel.Warning, "The rebuild of {Service}.{Projection} waits at {Source} ({Error})")]
    private partial void LogFailed(Exception? exception, string service, string projection, string source, string error);

    private sealed record Running([property: Column("id")] Guid Id, [property: Column("projection")] string Projection);

    private sealed record Next(
        [property: Column("number")] int Number,
        [property: Column("source")] string Source,
        [property: Column("resume_after")] string ResumeAfter);
}

using Crm.Contacts.Domain;
using Crm.Hosting;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.Lifecycles;

/// <summary>
/// Finds the buyers who have not ordered for <see cref="LifecycleOptions.LapseDays"/>. Any number of replicas may run: a
/// customer's row is locked by the one who moves it, and the others pass it by.
/// </summary>
internal sealed partial class LapseBuyers(IServiceScopeFactory scopes, IOptions<LifecycleOptions> options, TimeProvider clock, ILogger<LapseBuyers> logger)
    : RepeatedWork(TimeSpan.FromSeconds(options.Value.SweepSeconds), clock, logger)
{
    private const int Batch = 500;

    private const string Due = """
        c.state = 'active' AND c.lifecycle IN ('active_buyer', 'won_back')
        AND NOT EXISTS (SELECT FROM placed_orders o WHERE o.customer_id = c.id AND o.counts AND o.placed_at >= {0})
        AND NOT EXISTS (SELECT FROM lifecycle_changes l WHERE l.customer_id = c.id AND l.voided_at IS NULL AND l.to_state IN ('active_buyer', 'won_back')
                        AND l.cause IN ('created', 'edited', 'merge') AND l.at >= {0})
        """;

    private static readonly System.Diagnostics.Metrics.Counter<long> Lapsed =
        Telemetry.Meter.CreateCounter<long>("crm.contacts.lapsed", description: "Buyers who have lapsed by rule");

    protected override async Task RunAsync(CancellationToken ct)
    {
        while (await LapseAsync(ct) is var lapsed and > 0)
        {
            Lapsed.Add(lapsed);
            LogLapsed(lapsed);
        }
    }

    /// <summary>One batch; how many have lapsed.</summary>
    private async Task<int> LapseAsync(CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<ContactsDb>();
        var now = Clock.GetUtcNow();
        var before = options.Value.LapsedBefore(now);
        return await db.InTransactionAsync(async () =>
        {
            var found = await db.Customers.FromSqlRaw($"SELECT c.* FROM customers c WHERE {Due} ORDER BY c.id LIMIT {{1}} FOR UPDATE OF c SKIP LOCKED", before, Batch).ToListAsync(ct);
            // An order may have come between the look and the lock; from now on it waits.
            var ids = found.ConvertAll(c => c.Id);
            var due = await db.Database.SqlQueryRaw<Guid>($"SELECT c.id AS \"Value\" FROM customers c WHERE c.id = ANY ({{1}}) AND {Due}", before, ids.ToArray()).ToListAsync(ct);
            var last = (await db.PlacedOrders.SelectFrom($"""
                (SELECT DISTINCT ON (customer_id) * FROM placed_orders WHERE customer_id = ANY ({ids}) AND counts ORDER BY customer_id, placed_at DESC, id) AS last
                """).AsNoTracking().ToListAsync(ct)).ToDictionary(o => o.CustomerId);
            foreach (var customer in found.Where(c => due.Contains(c.Id)))
            {
                db.MoveLifecycle(customer, Lifecycle.Lapsed, LifecycleCause.NoOrder, last.GetValueOrDefault(customer.Id), now);
            }

            await db.SaveChangesAsync(ct);
            return due.Count;
        }, ct);
    }

    [LoggerMessage(LogLevel.Information, "{Count} buyers have lapsed")]
    private partial void LogLapsed(int count);
}

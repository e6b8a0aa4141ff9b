using Crm.Contacts.Features.Erasures;
using Crm.Contracts;
using Crm.Hosting;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Messaging;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.RecycleBin;

/// <summary>
/// Hands the customers who were not brought back in time to the erasure, one a transaction. Any number of replicas may
/// run: each takes rows that no other one has. Those under a legal hold stay until it is lifted.
/// </summary>
internal sealed partial class EmptyRecycleBin(IServiceScopeFactory scopes, IOptions<RecycleBinOptions> options, TimeProvider clock, ILogger<EmptyRecycleBin> logger)
    : RepeatedWork(TimeSpan.FromSeconds(options.Value.SweepSeconds), clock, logger)
{
    private static readonly System.Diagnostics.Metrics.Counter<long> Emptied =
        Telemetry.Meter.CreateCounter<long>("crm.contacts.recycle_bin.erased", description: "Customers who were not brought back from the recycle bin in time");

    protected override async Task RunAsync(CancellationToken ct)
    {
        for (Guid? last = Guid.Empty; last is not null;)
        {
            last = await EraseNextAsync(last.Value, ct);
        }
    }

    /// <summary>The next one in the order of ids, whether or not it could be erased; null after the last.</summary>
    private async Task<Guid?> EraseNextAsync(Guid after, CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<ContactsDb>();
        Guid? due = null;
        try
        {
            await db.InTransactionAsync(async () =>
            {
                var now = Clock.GetUtcNow();
                var binned = (await db.RecycleBin.SelectFrom($"""
                    recycle_bin b
                    WHERE b.keep_until <= {now} AND b.customer_id > {after} AND NOT EXISTS (
                        SELECT FROM legal_holds h WHERE h.lifted_at IS NULL AND h.customer_id IN (SELECT customers_below(ARRAY[b.customer_id])))
                    ORDER BY b.customer_id LIMIT 1 FOR UPDATE SKIP LOCKED
                    """).AsNoTracking().ToListAsync(ct)).SingleOrDefault();
                due = binned?.CustomerId;
                if (binned is null)
                {
                    return false;
                }

                var customers = await db.LockWithAbsorbedAsync(binned.CustomerId, ct);
                await db.RequireNoHoldAsync(customers.Keys, ct);
                await EraseCustomer.EraseAsync(
                    db, binned.CustomerId, customers, binned.Cause, db.Actor(), scope.ServiceProvider.GetRequiredService<SignedStatements>(),
                    scope.ServiceProvider.GetRequiredService<IOptions<ErasureOptions>>().Value, now, ct);
                return true;
            }, ct);
            if (due is not null)
            {
                Emptied.Add(1);
                LogErased(Ids.Customer.Format(due.Value));
            }
        }
        catch (Exception exception) when (due is not null && !ct.IsCancellationRequested)
        {
            LogKept(exception is ProblemException || Transient.Is(exception) ? null : exception, Ids.Customer.Format(due.Value), exception.GetType().Name);
        }

        return due;
    }

    [LoggerMessage(LogLevel.Information, "{CustomerId} was not brought back from the recycle bin in time and is erased")]
    private partial void LogErased(string customerId);

    [LoggerMessage(LogLevel.Warning, "{CustomerId} stays in the recycle bin until the next look: {Reason}")]
    private partial void LogKept(Exception? exception, string customerId, string reason);
}

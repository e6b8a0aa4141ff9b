using Crm.Contracts;
using Crm.Contracts.Contacts.V1;
using Crm.Contracts.Events;
using Crm.Hosting.Messaging;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Crm.CustomerCopy;

/// <summary>
/// Fills the copy of a service that starts for the first time: customers registered before its queue
/// existed come over gRPC, and at every start the few tiers, and the grants between departments. Runs beside the consumer, since only newer versions have an effect.
/// </summary>
internal sealed partial class FillCustomerCopy(IServiceScopeFactory scopes, Contacts.ContactsClient contacts, ILogger<FillCustomerCopy> logger) : BackgroundService
{
    private const int Batch = 500;
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await FillAsync(stoppingToken);
                return;
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception exception)
            {
                LogWaiting(exception is RpcException || Transient.Is(exception) ? null : exception, exception.GetType().Name);
                await Task.Delay(Pause, stoppingToken);
            }
        }
    }

    private async Task FillAsync(CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<CustomerCopyDb>();
        await db.StoreAsync([.. (await contacts.ListTiersAsync(new ListTiersRequest(), cancellationToken: ct)).Tiers.Select(t => t.ToEvent())], ct);
        await FillGrantsAsync(db, ct);
        if (await db.Database.SqlQuery<bool>($"SELECT EXISTS (SELECT 1 FROM customer_copy_filled) AS \"Value\"").SingleAsync(ct))
        {
            return;
        }

        var batch = new List<CustomerRecord>(Batch);
        var total = 0;
        using var stream = contacts.StreamCustomers(new StreamCustomersRequest(), cancellationToken: ct);
        await foreach (var record in stream.ResponseStream.ReadAllAsync(ct))
        {
            batch.Add(record);
            if (batch.Count == Batch)
            {
                await StoreAsync(db, batch, ct);
            }

            total++;
        }

        await StoreAsync(db, batch, ct);
        await db.Database.ExecuteSqlAsync($"INSERT INTO customer_copy_filled VALUES (now())", ct);
        LogFilled(total);
    }

    private async Task FillGrantsAsync(CustomerCopyDb db, CancellationToken ct)
    {
        var batch = new List<GrantChanged>(Batch);
        using var stream = contacts.StreamGrants(new StreamGrantsRequest(), cancellationToken: ct);
        await foreach (var grant in stream.ResponseStream.ReadAllAsync(ct))
        {
            batch.Add(grant.ToEvent());
            if (batch.Count == Batch)
            {
                await db.StoreAsync(batch, ct);
                batch.Clear();
            }
        }

        await db.StoreAsync(batch, ct);
    }

    private static async Task StoreAsync(CustomerCopyDb db, List<CustomerRecord> batch, CancellationToken ct)
    {
        if (batch.Count > 0)
        {
            await db.StoreAsync([.. batch.Select(r => r.Customer.ToSnapshot())], ct);
            await db.StoreAsync([.. batch.SelectMany(r => r.Consents).Select(ToEvent)], ct);
            batch.Clear();
        }
    }

    internal static ConsentRecorded ToEvent(Consent c) => new(c.CustomerId, c.Channel, c.Purpose, c.State, c.Version, c.At.ToDateTimeOffset(), c.PausedUntil?.ToDateTimeOffset());

    [LoggerMessage(LogLevel.Information, "The copy of customers is filled with {Count}")]
    private partial void LogFilled(int count);

    [LoggerMessage(LogLevel.Information, "The copy of customers waits for Contacts ({Reason})")]
    private partial void LogWaiting(Exception? exception, string reason);
}

using Crm.Contracts.Events;
using Crm.CustomerCopy;
using Crm.CustomerCopy.Projections;
using Crm.Hosting.Data;
using Crm.Hosting.Rpc;
using Crm.Interactions.Domain;
using Grpc.Net.ClientFactory;
using Microsoft.EntityFrameworkCore;
using Wire = Crm.Contracts.Rebuilds.V1;

namespace Crm.Interactions;

/// <summary>The entries of one type, of the records of their owner.</summary>
internal sealed class TimelineSource<TRecord>(string name, IRowReader<TRecord> owner, TimelineType type, Func<TRecord, TimelineEntry> entryOf, InteractionsDb db)
    : RowSource<TRecord>(name, owner)
{
    protected override Task<List<Guid>> FindOthersAsync(Guid after, Guid end, Guid[] but, int limit, CancellationToken ct)
    {
        var word = type.ToWord();
        return db.Database.SqlQuery<Guid>($"""
            SELECT id AS "Value" FROM timeline WHERE type = {word} AND id > {after} AND id <= {end} AND NOT id = ANY ({but}) ORDER BY id LIMIT {limit}
            """).ToListAsync(ct);
    }

    protected override async Task<Repairs> StoreAsync(IReadOnlyList<SourceRow<TRecord>> rows, CancellationToken ct)
    {
        var (repaired, removed) = (0, 0);
        foreach (var group in rows.GroupBy(r => r.AsOfNow))
        {
            var repairs = await db.RepairAsync([.. group.Select(r => entryOf(r.Row))], keepWords: group.Key, ct);
            (repaired, removed) = (repaired + repairs.Repaired, removed + repairs.Removed);
        }

        return new(repaired, removed);
    }

    protected override async Task<int> RemoveAsync(Guid[] ids, CancellationToken ct)
    {
        await db.HoldMergesAsync(ct);
        var word = type.ToWord();
        return await db.Database.ExecuteSqlAsync($"DELETE FROM timeline WHERE type = {word} AND id = ANY ({ids})", ct);
    }
}

/// <summary>This service's own.</summary>
internal sealed class InteractionRows(InteractionsDb db) : IRowReader<Interaction>
{
    public async Task<(IReadOnlyList<SourceRow<Interaction>> Rows, long? Estimate)> ReadAsync(Guid after, int limit, CancellationToken ct)
    {
        var rows = await db.Interactions.AsNoTracking().Where(i => i.Id > after).OrderBy(i => i.Id).Take(limit).ToListAsync(ct);
        return (Rows(rows), await db.EstimateRowsAsync("interactions", ct));
    }

    public async Task<KnownRows<Interaction>> ReadAsync(IReadOnlyList<Guid> ids, CancellationToken ct)
    {
        List<Guid> wanted = [.. ids];
        return new(Rows(await db.Interactions.AsNoTracking().Where(i => wanted.Contains(i.Id)).ToListAsync(ct)), []);
    }

    private static List<SourceRow<Interaction>> Rows(List<Interaction> interactions) => interactions.ConvertAll(i => new SourceRow<Interaction>(i.Id, i));
}

internal static class TimelineProjection
{
    private static readonly (string Service, string Peer)[] Owners = [("billing-sync", "BillingSync"), ("support", "Support"), ("campaigns", "Campaigns")];

    /// <summary>The timeline, rebuilt of the records of all services that have entries on it.</summary>
    public static void AddTimelineProjection(this IHostApplicationBuilder builder)
    {
        foreach (var (service, peer) in Owners)
        {
            builder.AddCrmGrpcClientNamed<Wire.Rebuilds.RebuildsClient>(peer, "crm.rebuilds.v1.Rebuilds", service, "ReadRows");
        }

        builder.AddProjection("timeline", provider =>
        {
            var (db, clients, clock) = (provider.GetRequiredService<InteractionsDb>(), provider.GetRequiredService<GrpcClientFactory>(), provider.GetRequiredService<TimeProvider>());
            var (billing, support, campaigns) = (Owner(clients, "billing-sync"), Owner(clients, "support"), Owner(clients, "campaigns"));
            return
            [
                new TimelineSource<Interaction>("interactions.interactions", new InteractionRows(db), TimelineType.Interaction, TimelineEntry.Of, db),
                new TimelineSource<OrderRecorded>("billing-sync.orders", new EventRows<OrderRecorded>(billing, clock), TimelineType.Order, TimelineEntry.Of, db),
                new TimelineSource<InvoiceRecorded>("billing-sync.invoices", new EventRows<InvoiceRecorded>(billing, clock), TimelineType.Invoice, TimelineEntry.Of, db),
                new TimelineSource<PaymentRecorded>("billing-sync.payments", new EventRows<PaymentRecorded>(billing, clock), TimelineType.Payment, TimelineEntry.Of, db),
                new TimelineSource<CaseChanged>("support.cases", new EventRows<CaseChanged>(support, clock), TimelineType.Case, TimelineEntry.Of, db),
                new TimelineSource<MessageSent>("campaigns.messages", new EventRows<MessageSent>(campaigns, clock), TimelineType.Message, TimelineEntry.Of, db),
            ];
        });
    }

    private static Wire.Rebuilds.RebuildsClient Owner(GrpcClientFactory clients, string service) => clients.CreateClient<Wire.Rebuilds.RebuildsClient>(service);
}

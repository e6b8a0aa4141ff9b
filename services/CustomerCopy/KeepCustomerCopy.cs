using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Messaging;
using MassTransit;

namespace Crm.CustomerCopy;

/// <summary>
/// Keeps the copy of identity, tiers, grants and consent up to date; only a newer version has an effect. A merge and its undo are
/// answered with what they moved, an erasure with a signed receipt of what is gone.
/// </summary>
public sealed class KeepCustomerCopy(CustomerCopyDb db, ServiceName service, SignedStatements statements, TimeProvider clock) :
    IConsumer<CustomerRegistered>, IConsumer<CustomerUpdated>, IConsumer<ConsentRecorded>, IConsumer<CustomersMerged>, IConsumer<MergeUndone>, IConsumer<CustomersErased>, IConsumer<TierChanged>, IConsumer<GrantChanged>,
    IBatchConsumer<CustomerRegistered>, IBatchConsumer<CustomerUpdated>, IBatchConsumer<ConsentRecorded>
{
    public Task ConsumeAsync(IReadOnlyList<CustomerRegistered> messages, CancellationToken ct) => db.StoreAsync([.. messages.Select(m => m.Customer)], ct);

    public Task ConsumeAsync(IReadOnlyList<CustomerUpdated> messages, CancellationToken ct) => db.StoreAsync([.. messages.Select(m => m.Customer)], ct);

    public Task ConsumeAsync(IReadOnlyList<ConsentRecorded> messages, CancellationToken ct) => db.StoreAsync(messages, ct);

    public Task Consume(ConsumeContext<CustomerRegistered> context) => db.StoreAsync([context.Message.Customer], context.CancellationToken);

    public Task Consume(ConsumeContext<CustomerUpdated> context) => db.StoreAsync([context.Message.Customer], context.CancellationToken);

    public Task Consume(ConsumeContext<ConsentRecorded> context) => db.StoreAsync([context.Message], context.CancellationToken);

    public Task Consume(ConsumeContext<TierChanged> context) => db.StoreAsync([context.Message], context.CancellationToken);

    public Task Consume(ConsumeContext<GrantChanged> context) => db.StoreAsync([context.Message], context.CancellationToken);

    public async Task Consume(ConsumeContext<CustomersMerged> context)
    {
        var (merged, ct) = (context.Message, context.CancellationToken);
        await db.StoreAsync(merged.Customers, ct);
        var (survivor, absorbed) = (Ids.Customer.Parse(merged.SurvivorId), Keys(merged.AbsorbedIds));
        var counts = await db.CountMovedAsync(absorbed, survivor, ct);
        var blockers = (await db.FindLateBlockersAsync(survivor, absorbed, ct))
            .Select(b => new BlockerReference(b.Code, b.Source, [.. b.Customers.Select(c => Ids.Customer.Format(c))]));
        await AnswerAsync(new(merged.MergeId, "merge", service.Value, counts, new Dictionary<string, long>(), [], [.. blockers]), ct);
    }

    public async Task Consume(ConsumeContext<MergeUndone> context)
    {
        var (undone, ct) = (context.Message, context.CancellationToken);
        await db.StoreAsync(undone.Customers, ct);
        var counts = await db.CountMovedAsync(Keys(undone.RestoredIds), survivor: null, ct);
        var (stayedCounts, stayed) = await db.ListStayedAsync(undone.Survivors, undone.At, ct);
        await AnswerAsync(new(undone.MergeId, "undo", service.Value, counts, stayedCounts, stayed), ct);
    }

    public async Task Consume(ConsumeContext<CustomersErased> context)
    {
        var (erased, ct) = (context.Message, context.CancellationToken);
        var counts = await db.EraseAsync(erased.Customers, erased.Mailboxes, ct);
        var customer = Ids.Customer.Parse(erased.CustomerId);
        db.Audit("erased", "customer", customer, customer, AuditChanges.Between(null, counts));
        var statement = statements.Sign(new ErasureStatement(
            service.Value, erased.ErasureId, erased.CustomerId, [.. erased.Customers.Select(c => c.Id)], counts.Erased, counts.Kept, clock.GetUtcNow(), erased.BackupsGoneBy));
        var receipt = new ErasureReceipt(erased.ErasureId, service.Value, statement);
        db.Publish(new Answer(), service.Value switch
        {
            "interactions" => new InteractionsErasureApplied(receipt),
            "campaigns" => new CampaignsErasureApplied(receipt),
            "billing-sync" => new BillingSyncErasureApplied(receipt),
            "support" => new SupportErasureApplied(receipt),
            _ => throw new InvalidOperationException($"{service.Value} has no event for erasures."),
        });
        await db.SaveChangesAsync(ct);
    }

    private Task AnswerAsync(MergeReceipt receipt, CancellationToken ct)
    {
        db.Publish(new Answer(), receipt.Service switch
        {
            "interactions" => new InteractionsMergeApplied(receipt),
            "campaigns" => new CampaignsMergeApplied(receipt),
            "billing-sync" => new BillingSyncMergeApplied(receipt),
            "support" => new SupportMergeApplied(receipt),
            _ => throw new InvalidOperationException($"{receipt.Service} has no event for merges."),
        });
        return db.SaveChangesAsync(ct);
    }

    private static Guid[] Keys(IEnumerable<string> ids) => [.. ids.Select(Ids.Customer.Parse)];

    /// <summary>An answer is about nothing that has further events.</summary>
    private sealed class Answer : Hosting.Data.IAggregate
    {
        public Guid Id { get; } = Guid.CreateVersion7();
        public long EventSequence { get; set; }
    }
}

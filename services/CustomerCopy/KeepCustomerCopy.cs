using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting;
using Crm.Hosting.Messaging;
using MassTransit;

namespace Crm.CustomerCopy;

/// <summary>
/// Keeps the copy of identity and consent up to date; only a newer version has an effect. A merge and its undo are
/// answered with what they moved.
/// </summary>
public sealed class KeepCustomerCopy(CustomerCopyDb db, ServiceName service) :
    IConsumer<CustomerRegistered>, IConsumer<CustomerUpdated>, IConsumer<ConsentRecorded>, IConsumer<CustomersMerged>, IConsumer<MergeUndone>,
    IBatchConsumer<CustomerRegistered>, IBatchConsumer<CustomerUpdated>, IBatchConsumer<ConsentRecorded>
{
    public Task ConsumeAsync(IReadOnlyList<CustomerRegistered> messages, CancellationToken ct) => db.StoreAsync([.. messages.Select(m => m.Customer)], ct);

    public Task ConsumeAsync(IReadOnlyList<CustomerUpdated> messages, CancellationToken ct) => db.StoreAsync([.. messages.Select(m => m.Customer)], ct);

    public Task ConsumeAsync(IReadOnlyList<ConsentRecorded> messages, CancellationToken ct) => db.StoreAsync(messages, ct);

    public Task Consume(ConsumeContext<CustomerRegistered> context) => db.StoreAsync([context.Message.Customer], context.CancellationToken);

    public Task Consume(ConsumeContext<CustomerUpdated> context) => db.StoreAsync([context.Message.Customer], context.CancellationToken);

    public Task Consume(ConsumeContext<ConsentRecorded> context) => db.StoreAsync([context.Message], context.CancellationToken);

    public async Task Consume(ConsumeContext<CustomersMerged> context)
    {
        var (merged, ct) = (context.Message, context.CancellationToken);
        await db.StoreAsync(merged.Customers, ct);
        var counts = await db.CountMovedAsync(Keys(merged.AbsorbedIds), Key(merged.SurvivorId), ct);
        await AnswerAsync(new(merged.MergeId, "merge", service.Value, counts, new Dictionary<string, long>(), []), ct);
    }

    public async Task Consume(ConsumeContext<MergeUndone> context)
    {
        var (undone, ct) = (context.Message, context.CancellationToken);
        await db.StoreAsync(undone.Customers, ct);
        var counts = await db.CountMovedAsync(Keys(undone.RestoredIds), survivor: null, ct);
        var (stayedCounts, stayed) = await db.ListStayedAsync(undone.Survivors, undone.At, ct);
        await AnswerAsync(new(undone.MergeId, "undo", service.Value, counts, stayedCounts, stayed), ct);
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

    private static Guid Key(string id) => Ids.Customer.TryParse(id, out var key) ? key : throw new FormatException($"'{id}' is not a customer id.");

    private static Guid[] Keys(IEnumerable<string> ids) => [.. ids.Select(Key)];

    /// <summary>An answer is about nothing that has further events.</summary>
    private sealed class Answer : Hosting.Data.IAggregate
    {
        public Guid Id { get; } = Guid.CreateVersion7();
        public long EventSequence { get; set; }
    }
}

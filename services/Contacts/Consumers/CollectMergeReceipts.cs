using Crm.Contacts.Domain.Merges;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Consumers;

/// <summary>Notes what each service did for a merge or its undo; the last receipt completes it.</summary>
internal sealed class CollectMergeReceipts(ContactsDb db, TimeProvider clock) :
    IConsumer<InteractionsMergeApplied>, IConsumer<CampaignsMergeApplied>, IConsumer<BillingSyncMergeApplied>, IConsumer<SupportMergeApplied>
{
    public Task Consume(ConsumeContext<InteractionsMergeApplied> context) => TakeAsync(context.Message.Receipt, context.CancellationToken);

    public Task Consume(ConsumeContext<CampaignsMergeApplied> context) => TakeAsync(context.Message.Receipt, context.CancellationToken);

    public Task Consume(ConsumeContext<BillingSyncMergeApplied> context) => TakeAsync(context.Message.Receipt, context.CancellationToken);

    public Task Consume(ConsumeContext<SupportMergeApplied> context) => TakeAsync(context.Message.Receipt, context.CancellationToken);

    private async Task TakeAsync(MergeReceipt receipt, CancellationToken ct)
    {
        var id = Ids.Merge.Parse(receipt.MergeId);

        // The lock makes the last of several at once see the others.
        await db.Database.ExecuteSqlAsync($"SELECT FROM merges WHERE id = {id} FOR UPDATE", ct);
        var merge = await db.Merges.Include(m => m.Receipts).FirstOrDefaultAsync(m => m.Id == id, ct)
            ?? throw new InvalidOperationException($"There is no merge {receipt.MergeId}.");
        var now = clock.GetUtcNow();
        merge.Take(new()
        {
            Phase = EnumWords<MergePhase>.Parse(receipt.Phase),
            Service = receipt.Service,
            Counts = new(receipt.Counts),
            StayedCounts = new(receipt.StayedCounts),
            Stayed = [.. receipt.Stayed],
            Blockers = receipt.Blockers?.ToList(),
            At = now,
        }, now);
        await db.SaveChangesAsync(ct);
    }
}

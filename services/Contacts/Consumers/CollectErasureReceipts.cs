using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Auth;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Consumers;

/// <summary>Notes what each service did for an erasure, if it signed it with its own key; the last receipt completes it.</summary>
internal sealed class CollectErasureReceipts(ContactsDb db, SignedStatements statements, TimeProvider clock) :
    IConsumer<InteractionsErasureApplied>, IConsumer<CampaignsErasureApplied>, IConsumer<BillingSyncErasureApplied>, IConsumer<SupportErasureApplied>
{
    public Task Consume(ConsumeContext<InteractionsErasureApplied> context) => TakeAsync("interactions", context.Message.Receipt, context.CancellationToken);

    public Task Consume(ConsumeContext<CampaignsErasureApplied> context) => TakeAsync("campaigns", context.Message.Receipt, context.CancellationToken);

    public Task Consume(ConsumeContext<BillingSyncErasureApplied> context) => TakeAsync("billing-sync", context.Message.Receipt, context.CancellationToken);

    public Task Consume(ConsumeContext<SupportErasureApplied> context) => TakeAsync("support", context.Message.Receipt, context.CancellationToken);

    private async Task TakeAsync(string service, ErasureReceipt receipt, CancellationToken ct)
    {
        var statement = await statements.ReadAsync<ErasureStatement>(receipt.Statement, service, ct);
        if (statement is null || statement.Service != service || statement.ErasureId != receipt.ErasureId || !Ids.Erasure.TryParse(statement.ErasureId, out var id))
        {
            throw new InvalidDataException($"The receipt of {service} for {receipt.ErasureId} is not signed by it.");
        }

        // The lock makes the last of several at once see the others.
        await db.Database.ExecuteSqlAsync($"SELECT FROM erasures WHERE id = {id} FOR UPDATE", ct);
        var erasure = await db.Erasures.Include(e => e.Receipts).FirstOrDefaultAsync(e => e.Id == id, ct)
            ?? throw new InvalidOperationException($"There is no erasure {receipt.ErasureId}.");
        erasure.Take(statement, receipt.Statement, clock.GetUtcNow());
        await db.SaveChangesAsync(ct);
    }
}

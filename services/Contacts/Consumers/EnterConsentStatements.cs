using System.Net;
using Crm.Contacts.Domain;
using Crm.Contacts.Features;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Consumers;

/// <summary>
/// Enters what people said by the links of mails into the ledger, with the proof; a merged customer's goes to the survivor.
/// What confirms a pending statement stays with that one through merges and their undo.
/// </summary>
internal sealed class EnterConsentStatements(ContactsDb db, TimeProvider clock) : IConsumer<ConsentStated>
{
    /// <summary>What the actor of such a statement is called: the person, who has no key.</summary>
    private const string Actor = "customer";

    public async Task Consume(ConsumeContext<ConsentStated> context)
    {
        var (stated, ct) = (context.Message, context.CancellationToken);
        var pending = stated.ConfirmsId is null ? null : await FindPendingAsync(stated, ct);
        if (stated.ConfirmsId is not null && pending is null)
        {
            return;
        }

        var (channel, state) = (EnumWords<ConsentChannel>.Parse(stated.Channel), EnumWords<ConsentState>.Parse(stated.State));
        foreach (var customerId in await HoldCustomersAsync(stated, state, pending, ct))
        {
            var now = clock.GetUtcNow();
            await db.LockConsentAsync(customerId, channel, stated.Purpose, ct);
            await db.AppendAsync(
                new Consent
                {
                    Id = Guid.CreateVersion7(now),
                    CustomerId = customerId,
                    OriginCustomerId = pending?.OriginCustomerId ?? customerId,
                    Channel = channel,
                    Purpose = stated.Purpose,
                    State = state,
                    PausedUntil = stated.PausedUntil,
                    LegalBasis = pending?.LegalBasis ?? LegalBasis.Consent,
                    Source = stated.Source,
                    Wording = pending?.Wording,
                    WordingVersion = pending?.WordingVersion,
                    Ip = IPAddress.TryParse(stated.Ip, out var ip) ? ip : null,
                    Evidence = new(stated.MessageId, stated.TokenSha256, stated.ConfirmsId),
                    At = await db.TimeOfConsentAsync(customerId, channel, stated.Purpose, state == ConsentState.Paused, stated.At, ct),
                    Actor = Actor,
                    RecordedAt = now,
                },
                ct);
        }

        await db.SaveChangesAsync(ct);
    }

    /// <summary>The statement that is confirmed; null when it was confirmed before, or too late.</summary>
    private async Task<Consent?> FindPendingAsync(ConsentStated stated, CancellationToken ct)
    {
        var key = Ids.Consent.Parse(stated.ConfirmsId!);
        var found = await db.ConsentConfirmations.ForUpdate($"consent_id = {key}").ToListAsync(ct);
        return found is [var confirmation] && confirmation.Confirm(stated.At)
            ? await db.Consents.AsNoTracking().FirstAsync(c => c.Id == key, ct)
            : null;
    }

    /// <summary>
    /// For whom the customer of the mail stands now; nobody when there is none any more. What ends or pauses something counts
    /// for whom that customer was merged with when it was said, too: an undo may have come first.
    /// </summary>
    private async Task<List<Guid>> HoldCustomersAsync(ConsentStated stated, ConsentState state, Consent? pending, CancellationToken ct)
    {
        var recipient = pending?.OriginCustomerId ?? Ids.Customer.Parse(stated.OriginCustomerId ?? stated.CustomerId);
        Guid[] named = state == ConsentState.Granted ? [recipient] : [recipient, Ids.Customer.Parse(stated.CustomerId)];
        var roots = new List<Guid>();
        foreach (var id in named.Distinct().Order())
        {
            roots.Add(await db.HoldRootAsync(id, ct));
        }

        return await db.Customers.Where(c => roots.Contains(c.Id) && (c.State == CustomerState.Active || c.State == CustomerState.Deleted))
            .OrderBy(c => c.Id).Select(c => c.Id).ToListAsync(ct);
    }
}

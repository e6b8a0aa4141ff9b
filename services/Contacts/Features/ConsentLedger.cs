using Crm.Contacts.Domain;
using Crm.Hosting.Audit;
using Crm.Contacts.Features.Merges;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>The one way into the ledger, whoever says it: the statement, what now holds, and the event if that changed.</summary>
internal static class ConsentLedger
{
    /// <summary>Call it inside a transaction and save afterwards; statements about one channel and purpose wait for one another.</summary>
    public static async Task<CurrentConsent> AppendAsync(this ContactsDb db, Consent said, CancellationToken ct)
    {
        await db.LockConsentAsync(said.CustomerId, said.Channel, said.Purpose, ct);
        db.Consents.Add(said);
        db.AuditRow("consent", said);
        if (await db.Customers.AnyAsync(c => c.Id == said.CustomerId && c.Layers != null, ct))
        {
            // What holds is more than the latest statement. Of the rest others write at this moment.
            await db.SaveChangesAsync(ct);
            await db.ReplayConsentsAsync([said.CustomerId], said.RecordedAt, ct, (said.Channel, said.Purpose));
            return (await db.FindCurrentConsentAsync(said.CustomerId, said.Channel, said.Purpose, ct)
                ?? db.CurrentConsents.Local.First(c => c.CustomerId == said.CustomerId && c.Channel == said.Channel && c.Purpose == said.Purpose))!;
        }

        var current = await db.FindCurrentConsentAsync(said.CustomerId, said.Channel, said.Purpose, ct);
        if (current is null)
        {
            current = CurrentConsent.Of(said);
            db.CurrentConsents.Add(current);
            db.Publish(current, current.Recorded());
        }
        else if (current.Apply(said))
        {
            db.Publish(current, current.Recorded());
        }

        return current;
    }

    /// <summary>The time of what is said at a moment: after all that was recorded by then, even what dates itself ahead.</summary>
    /// <param name="pauses">Pauses come after pauses, all else after all else.</param>
    public static async Task<DateTimeOffset> TimeOfConsentAsync(this ContactsDb db, Guid customerId, ConsentChannel channel, string purpose, bool pauses, DateTimeOffset at, CancellationToken ct)
    {
        var ahead = await db.Consents
            .Where(c => c.CustomerId == customerId && c.Channel == channel && c.Purpose == purpose && (c.State == ConsentState.Paused) == pauses
                && c.RecordedAt <= at && c.At >= at)
            .MaxAsync(c => (DateTimeOffset?)c.At, ct);
        return ahead?.AddMicroseconds(1) ?? at;
    }

    public static Task LockConsentAsync(this ContactsDb db, Guid customerId, ConsentChannel channel, string purpose, CancellationToken ct) =>
        db.LockAsync([$"consent {customerId} {channel} {purpose}"], ct);

    public static Task<CurrentConsent?> FindCurrentConsentAsync(this ContactsDb db, Guid customerId, ConsentChannel channel, string purpose, CancellationToken ct) =>
        db.CurrentConsents.FirstOrDefaultAsync(c => c.CustomerId == customerId && c.Channel == channel && c.Purpose == purpose, ct);
}

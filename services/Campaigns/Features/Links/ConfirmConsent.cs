using Crm.Campaigns.Domain.Campaigns;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Features.Links;

/// <summary>
/// The click of a double opt-in; it lapses when the customer has another mailbox by then. Contacts checks it once more and
/// enters it into the ledger with its proof.
/// </summary>
internal static class ConfirmConsent
{
    private const string Source = "confirmation_link";

    private static readonly LinkPage Confirmed = LinkPage.Ok("Thank you", "<p>Your consent is confirmed. Every mail has a link to withdraw it.</p>");

    private static readonly LinkPage Ended = LinkPage.Ok("You get no such mails", "<p>You confirmed this with the link before, and it has ended since. Nothing was changed.</p>");

    private static readonly LinkPage TooLate = new(StatusCodes.Status410Gone, "This link has expired", "<p>Nothing was confirmed. Please ask for a new mail.</p>");

    public static async Task<IResult> Show(string token, CampaignsDb db, TimeProvider clock, CancellationToken ct)
    {
        if (await db.FindAsync(token, MessageKind.Confirmation, forChange: false, ct) is not { } message)
        {
            return LinkPage.NotFound;
        }

        if (message.LinkUsedAt is not null)
        {
            return await AgainAsync(db, message, ct);
        }

        var wording = message.Wording is { Length: > 0 } words ? $"<blockquote>{LinkPage.Text(words)}</blockquote>" : "";
        return clock.GetUtcNow() > message.ExpiresAt || !await IsOwnMailboxAsync(db, message, ct)
            ? TooLate
            : LinkPage.Ok("Please confirm", $"<p>You agree that we write to you ({LinkPage.Text(message.Purpose)}).</p>{wording}{LinkPage.Button("I agree")}");
    }

    public static async Task<IResult> Act(string token, HttpRequest request, CampaignsDb db, TimeProvider clock, CancellationToken ct) =>
        await db.InTransactionAsync<IResult>(async () =>
        {
            if (await db.FindAsync(token, MessageKind.Confirmation, forChange: true, ct) is not { } message)
            {
                return LinkPage.NotFound;
            }

            if (message.LinkUsedAt is not null)
            {
                return await AgainAsync(db, message, ct);
            }

            var now = clock.GetUtcNow();
            if (!await IsOwnMailboxAsync(db, message, ct) || !message.Confirm(now))
            {
                return TooLate;
            }

            db.Publish(message, message.Stated(MailLinks.Email, message.Purpose!, "granted", Source, MailLinks.AddressOf(request), now));
            await db.SaveChangesAsync(ct);
            return Confirmed;
        }, ct);

    /// <summary>The link confirms once; afterwards it says what holds.</summary>
    private static async Task<LinkPage> AgainAsync(CampaignsDb db, Message message, CancellationToken ct) =>
        await db.CustomerConsents.AnyAsync(
            c => c.CustomerId == message.CustomerId && c.Channel == MailLinks.Email && c.Purpose == message.Purpose && c.State != "granted" && c.At > message.LinkUsedAt, ct)
            ? Ended
            : Confirmed;

    /// <summary>
    /// Whether the mail went where campaigns would go: to the customer's mailbox, or to that of the record that it was sent for
    /// before a merge. Of who has not come to the copy yet nothing else is known.
    /// </summary>
    private static async Task<bool> IsOwnMailboxAsync(CampaignsDb db, Message message, CancellationToken ct)
    {
        var mailboxes = await db.Customers.Where(c => c.Id == message.CustomerId || c.Id == message.OriginCustomerId).Select(c => c.PrimaryEmail).ToListAsync(ct);
        return mailboxes.Count == 0 || mailboxes.Exists(m => string.Equals(m, message.ToAddress, StringComparison.OrdinalIgnoreCase));
    }
}

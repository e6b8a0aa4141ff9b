using Crm.Campaigns.Domain.Campaigns;

namespace Crm.Campaigns.Features.Links;

/// <summary>
/// One-click unsubscription (RFC 8058): POST acts at once, without login, cookie or redirect, and what it says in its
/// body does not matter. The link can take consent away, never give it. Each click is a statement of its own.
/// </summary>
internal static class Unsubscribe
{
    private const string Source = "unsubscribe_link";

    public static async Task<IResult> Show(string token, CampaignsDb db, CancellationToken ct) =>
        await db.FindAsync(token, MessageKind.Campaign, forChange: false, ct) is null
            ? LinkPage.NotFound
            : LinkPage.Ok("Unsubscribe", $"""
                <p>You will get no more marketing mails from us at this address.</p>
                {LinkPage.Button("Unsubscribe")}
                <p><a href="p/{token}">Choose what you get instead</a></p>
                """);

    public static async Task<IResult> Act(string token, HttpRequest request, CampaignsDb db, TimeProvider clock, CancellationToken ct)
    {
        var known = await db.InTransactionAsync(async () =>
        {
            if (await db.FindAsync(token, MessageKind.Campaign, forChange: true, ct) is not { } message)
            {
                return false;
            }

            message.Unsubscribe(await db.MarketingGrantedAtAsync(message.CustomerId, ct), clock.GetUtcNow());
            var at = message.LinkUsedAt!.Value;
            db.Publish(message, message.Stated(MailLinks.Email, MailLinks.Marketing, "withdrawn", Source, MailLinks.AddressOf(request), at));
            await db.RefuseAsync(message, MailLinks.Marketing, at, ct);
            await db.SaveChangesAsync(ct);
            return true;
        }, ct);
        return known ? LinkPage.Ok("You are unsubscribed", "<p>You will get no more marketing mails from us at this address.</p>") : LinkPage.NotFound;
    }
}

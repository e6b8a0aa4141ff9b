using System.Globalization;
using System.Text;
using Crm.Campaigns.Domain.Campaigns;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Features.Links;

/// <summary>
/// What the person agreed to, by channel and purpose, each of which can be ended or paused here. Nothing can be granted: a
/// mail is easily forwarded, so more needs the person's own word (double opt-in).
/// </summary>
internal static class Preferences
{
    private const string Source = "preference_page";

    private const int LongestPauseDays = 730;

    /// <summary>What is answered instead of how much was changed.</summary>
    private const int NoSuchDay = -1;

    public static async Task<IResult> Show(string token, CampaignsDb db, TimeProvider clock, CancellationToken ct)
    {
        if (await db.FindAsync(token, MessageKind.Campaign, forChange: false, ct) is not { } message)
        {
            return LinkPage.NotFound;
        }

        var granted = await GrantedAsync(db, message, ct);
        if (granted.Count == 0)
        {
            return LinkPage.Ok("Your preferences", "<p>There is nothing that you agreed to and could end here.</p>");
        }

        var now = clock.GetUtcNow();
        var zone = await ZoneAsync(db, message, ct);
        var form = new StringBuilder("<p>You agreed to these. Tick what shall end, or rest until a day of your choice.</p><form method=\"post\"><ul>");
        foreach (var consent in granted)
        {
            var value = LinkPage.Text($"{consent.Channel}:{consent.Purpose}");
            form.Append(CultureInfo.InvariantCulture, $"<li><label><input type=\"checkbox\" name=\"end\" value=\"{value}\"> {LinkPage.Text(consent.Purpose)}, by {LinkPage.Text(consent.Channel)}{(consent.PausedUntil > now ? $" (rests until {Day(consent.PausedUntil.Value, zone)})" : "")}</label></li>");
        }

        return LinkPage.Ok("Your preferences", form.Append(
            CultureInfo.InvariantCulture,
            $"</ul><button>End what is ticked</button><p><label>Until <input type=\"date\" name=\"until\" min=\"{Day(now.AddDays(1), zone)}\" max=\"{Day(now.AddDays(LongestPauseDays), zone)}\"></label> <button name=\"do\" value=\"pause\">Pause what is ticked</button></p></form>").ToString());
    }

    public static async Task<IResult> Act(string token, HttpRequest request, CampaignsDb db, TimeProvider clock, CancellationToken ct)
    {
        var form = request.HasFormContentType ? await request.ReadFormAsync(ct) : FormCollection.Empty;
        var wanted = form["end"].ToHashSet(StringComparer.Ordinal);
        var now = clock.GetUtcNow();
        var pauses = form["do"] == "pause";
        var day = DateOnly.TryParseExact(form["until"].ToString(), "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var chosen) ? chosen : DateOnly.MinValue;
        var ended = await db.InTransactionAsync(async () =>
        {
            if (await db.FindAsync(token, MessageKind.Campaign, forChange: true, ct) is not { } message)
            {
                return (int?)null;
            }

            DateTimeOffset? pausedUntil = pauses ? Beginning(day, await ZoneAsync(db, message, ct)) : null;
            if (pausedUntil <= now || pausedUntil > now.AddDays(LongestPauseDays))
            {
                return NoSuchDay;
            }

            var ending = (await GrantedAsync(db, message, ct)).Where(c => wanted.Contains($"{c.Channel}:{c.Purpose}")).ToList();
            foreach (var consent in ending)
            {
                if (pausedUntil is null && consent is { Channel: MailLinks.Email, Purpose: MailLinks.Marketing })
                {
                    message.Unsubscribe(consent.At, now);
                }

                var (state, at) = pausedUntil is null ? ("withdrawn", Message.EndOf(consent.At, now)) : ("paused", now);
                db.Publish(message, message.Stated(consent.Channel, consent.Purpose, state, Source, MailLinks.AddressOf(request), at, pausedUntil));
                if (pausedUntil is null && consent.Channel == MailLinks.Email)
                {
                    await db.RefuseAsync(message, consent.Purpose, at, ct);
                }
            }

            await db.SaveChangesAsync(ct);
            return ending.Count;
        }, ct);
        return ended switch
        {
            null => LinkPage.NotFound,
            NoSuchDay => LinkPage.Ok("Nothing was changed", "<p>Choose a day from tomorrow on, within the next two years.</p>"),
            0 => LinkPage.Ok("Nothing was changed", "<p>Nothing was ticked that you agreed to.</p>"),
            _ when pauses => LinkPage.Ok("Your preferences are saved", $"<p>What you ticked rests until {day.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)} and then goes on.</p>"),
            _ => LinkPage.Ok("Your preferences are saved", "<p>What you ticked has ended.</p>"),
        };
    }

    private static string Day(DateTimeOffset at, TimeZoneInfo zone) => TimeZoneInfo.ConvertTime(at, zone).ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);

    /// <summary>When the day begins there: at midnight, or where clocks skip it, at the first time of the day that there is.</summary>
    private static DateTimeOffset Beginning(DateOnly day, TimeZoneInfo zone)
    {
        // Refused as it is; a zone's offset could lead out of the calendar.
        if (day.Year is < 2000 or > 9000)
        {
            return new(day, TimeOnly.MinValue, TimeSpan.Zero);
        }

        var local = day.ToDateTime(TimeOnly.MinValue);
        while (zone.IsInvalidTime(local))
        {
            local = local.AddMinutes(1);
        }

        return new(TimeZoneInfo.ConvertTimeToUtc(local, zone), TimeSpan.Zero);
    }

    /// <summary>Where the person's days begin, as far as it is known; UTC otherwise.</summary>
    private static async Task<TimeZoneInfo> ZoneAsync(CampaignsDb db, Message message, CancellationToken ct) =>
        await db.Customers.Where(c => c.Id == message.CustomerId).Select(c => c.TimeZone).FirstOrDefaultAsync(ct) is { } name
            && TimeZoneInfo.TryFindSystemTimeZoneById(name, out var zone) ? zone : TimeZoneInfo.Utc;

    private static async Task<IReadOnlyList<CustomerCopy.CustomerConsent>> GrantedAsync(CampaignsDb db, Message message, CancellationToken ct)
    {
        var granted = await db.CustomerConsents.AsNoTracking().Where(c => c.CustomerId == message.CustomerId && c.State == "granted")
            .OrderBy(c => c.Channel).ThenBy(c => c.Purpose).ToListAsync(ct);
        // What was ended by this mail a moment ago may not have been to Contacts and back yet.
        return [.. granted.Where(c => !(c is { Channel: MailLinks.Email, Purpose: MailLinks.Marketing } && c.At <= message.LinkUsedAt))];
    }
}

using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>What holds now per channel and purpose, and a page of the ledger, newest first.</summary>
internal static class ReadConsents
{
    /// <param name="PausedUntil">Nothing is sent before, whatever is granted; null when there is no pause, or it is over.</param>
    public sealed record Current(ConsentChannel Channel, string Purpose, ConsentState State, DateTimeOffset At, DateTimeOffset? PausedUntil);

    /// <param name="NextCursor">Of the history.</param>
    public sealed record Response(IReadOnlyList<Current> Current, IReadOnlyList<ConsentView> History, bool HasMore, string? NextCursor);

    public static async Task<Response> Handle(string id, HttpRequest request, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        var page = PageRequest.Read(request, Ids.Consent);
        var customerId = await db.FindAtPathAsync(id, request.HttpContext, ct);
        // First: what is on the page holds, or something later does.
        var history = await db.Consents.AsNoTracking().Where(c => c.CustomerId == customerId).ToPageAsync(page, c => c.Id, Ids.Consent, ConsentView.Of, ct);
        var current = await db.CurrentConsents.Where(c => c.CustomerId == customerId && c.State != null)
            .OrderBy(c => c.Channel).ThenBy(c => c.Purpose)
            .Select(c => new Current(c.Channel, c.Purpose, c.State!.Value, c.At, c.PausedUntil > now ? c.PausedUntil : null)).ToListAsync(ct);
        return new(current, history.Data, history.HasMore, history.NextCursor);
    }
}

using Crm.Contracts;
using Crm.Hosting.Web;
using Crm.Support.Domain;
using Microsoft.EntityFrameworkCore;

namespace Crm.Support.Features;

/// <summary>One case with its latest messages and its history, by id or by its external id.</summary>
internal static class ReadCase
{
    private const int LatestMessages = 100;
    private const int LatestEntries = 500;

    public static Task<IResult> Handle(string id, HttpContext http, SupportDb db, CancellationToken ct) =>
        AnswerAsync(http, db, Ids.Case.TryParse(id, out var key) ? db.Cases.Where(c => c.Id == key) : null, ct);

    public static Task<IResult> HandleByExternalId(string source, string externalId, HttpContext http, SupportDb db, CancellationToken ct) =>
        AnswerAsync(http, db, db.Cases.Where(c => c.Source == source && c.ExternalId == externalId), ct);

    private static async Task<IResult> AnswerAsync(HttpContext http, SupportDb db, IQueryable<Case>? wanted, CancellationToken ct)
    {
        // The version is read first: what is added meanwhile is shown under a tag that is older than it, never newer.
        var it = wanted is null ? null : await wanted.AsNoTracking().FirstOrDefaultAsync(ct);
        if (it is null)
        {
            throw ProblemException.NotFound("case");
        }

        var messages = await db.Messages.AsNoTracking().Where(m => m.CaseId == it.Id).OrderByDescending(m => m.Id).Take(LatestMessages + 1).ToListAsync(ct);
        var history = await db.History.AsNoTracking().Where(h => h.CaseId == it.Id).OrderByDescending(h => h.Number).Take(LatestEntries).ToListAsync(ct);
        var view = new WholeCaseView(CaseView.Of(it))
        {
            Messages = [.. messages.Take(LatestMessages).Reverse().Select(MessageView.Of)],
            HasMoreMessages = messages.Count > LatestMessages,
            History = [.. Enumerable.Reverse(history).Select(HistoryView.Of)],
        };
        return ETags.Ok(http, it.Version, view);
    }
}

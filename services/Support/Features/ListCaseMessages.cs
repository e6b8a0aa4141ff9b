using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Support.Features;

/// <summary>The messages of one case, newest first, paged by keyset.</summary>
internal static class ListCaseMessages
{
    public static async Task<Page<MessageView>> Handle(string id, HttpRequest request, SupportDb db, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.CaseMessage);
        if (!Ids.Case.TryParse(id, out var key) || !await db.Cases.AnyAsync(c => c.Id == key, ct))
        {
            throw ProblemException.NotFound("case");
        }

        return await db.Messages.AsNoTracking().Where(m => m.CaseId == key).ToPageAsync(page, m => m.Id, Ids.CaseMessage, MessageView.Of, ct);
    }
}

using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Web;
using Crm.Support.Domain;
using Microsoft.EntityFrameworkCore;

namespace Crm.Support.Features;

/// <summary>Cases, the last opened first, filtered exactly and paged by keyset.</summary>
internal static class ListCases
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "customer_id", "queue", "status", "type", "priority", "assignee"];

    public static async Task<Page<CaseView>> Handle(HttpRequest request, SupportDb db, CustomerDirectory customers, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.Case);
        var cases = db.OutOfBin(db.Cases.AsNoTracking());
        if (await customers.ReadFilterAsync(request, ct) is { } customerId)
        {
            cases = cases.Where(c => c.CustomerId == customerId);
        }

        if (request.Query["queue"] is [{ } queue])
        {
            cases = cases.Where(c => c.Queue == queue);
        }

        if (request.Query["assignee"] is [{ } assignee])
        {
            cases = cases.Where(c => c.Assignee == assignee);
        }

        if (request.ReadWord<CaseStatus>("status") is { } status)
        {
            cases = cases.Where(c => c.Status == status);
        }

        if (request.ReadWord<CaseType>("type") is { } type)
        {
            cases = cases.Where(c => c.Type == type);
        }

        if (request.ReadWord<CasePriority>("priority") is { } priority)
        {
            cases = cases.Where(c => c.Priority == priority);
        }

        return await cases.ToPageAsync(page, c => c.Id, Ids.Case, CaseView.Of, ct);
    }
}

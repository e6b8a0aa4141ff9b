using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Support.Domain;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Wire = Crm.Contracts.Support.V1;

namespace Crm.Support;

/// <summary>The part of Support in the gateway's overview of a customer.</summary>
internal sealed class SupportGrpc(SupportDb db, CustomerDirectory customers, TimeProvider clock) : Wire.Support.SupportBase
{
    private const int Recent = 10;

    [Callers("gateway", Scope = Scopes.CasesRead)]
    public override async Task<Wire.CustomerOverview> GetCustomerOverview(Wire.GetCustomerOverviewRequest request, ServerCallContext context)
    {
        var ct = context.CancellationToken;
        var customerId = await customers.FindAsync(request.CustomerId, ct);
        var cases = db.Cases.AsNoTracking().Where(c => c.CustomerId == customerId);
        var open = await cases.Where(c => c.Status != CaseStatus.Solved)
            .GroupBy(c => c.Type == CaseType.Complaint)
            .Select(g => new { Complaints = g.Key, Count = g.Count() })
            .ToListAsync(ct);
        var recent = await cases.OrderBy(c => c.Status == CaseStatus.Solved).ThenByDescending(c => c.Id).Take(Recent).ToListAsync(ct);
        var overview = new Wire.CustomerOverview
        {
            AsOf = Timestamp.FromDateTimeOffset(clock.GetUtcNow()),
            OpenCases = open.Sum(g => g.Count),
            OpenComplaints = open.Where(g => g.Complaints).Sum(g => g.Count),
        };
        overview.Recent.AddRange(recent.Select(c => new Wire.Case
        {
            Id = Ids.Case.Format(c.Id),
            Type = c.Type.ToWord(),
            Subject = c.Subject,
            Priority = c.Priority.ToWord(),
            Queue = c.Queue,
            Status = c.Status.ToWord(),
            OpenedAt = Timestamp.FromDateTimeOffset(c.OpenedAt),
        }));
        return overview;
    }
}

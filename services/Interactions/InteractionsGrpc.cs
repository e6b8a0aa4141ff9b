using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Interactions.Features;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Wire = Crm.Contracts.Interactions.V1;

namespace Crm.Interactions;

/// <summary>The part of Interactions in the gateway's overview of a customer.</summary>
internal sealed class InteractionsGrpc(InteractionsDb db, CustomerDirectory customers, TimeProvider clock) : Wire.Interactions.InteractionsBase
{
    private const int Recent = 10;

    [Callers("gateway", Scope = Scopes.InteractionsRead)]
    public override async Task<Wire.CustomerOverview> GetCustomerOverview(Wire.GetCustomerOverviewRequest request, ServerCallContext context)
    {
        var ct = context.CancellationToken;
        var customerId = await customers.FindAsync(request.CustomerId, ct);
        var overview = new Wire.CustomerOverview { AsOf = Timestamp.FromDateTimeOffset(clock.GetUtcNow()) };
        if (await db.Interactions.Where(i => i.CustomerId == customerId).MaxAsync(i => (DateTimeOffset?)i.StartedAt, ct) is { } last)
        {
            overview.LastInteractionAt = Timestamp.FromDateTimeOffset(last);
        }

        var recent = await db.Timeline.AsNoTracking().Where(e => e.CustomerId == customerId).Told(context.GetHttpContext().User).Newest(Recent).ToListAsync(ct);
        overview.Recent.AddRange(recent.Select(e => new Wire.TimelineEntry
        {
            At = Timestamp.FromDateTimeOffset(e.At),
            Type = e.Type.ToWord(),
            Id = e.PublicId,
            Summary = e.SummaryForCaller,
            Service = e.Service,
        }));
        return overview;
    }
}

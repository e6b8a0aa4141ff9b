using Crm.Campaigns.Domain.Campaigns;
using Crm.Campaigns.Features.Campaigns;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.CustomerCopy;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Rpc;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Wire = Crm.Contracts.Campaigns.V1;

namespace Crm.Campaigns;

/// <summary>What the gateway composes into the customer overview.</summary>
internal sealed class CampaignsGrpc(CampaignsDb db, CustomerDirectory customers, TimeProvider clock) : Wire.Campaigns.CampaignsBase
{
    private const int Recent = 10;

    [Callers("gateway", Scope = Scopes.CampaignsRead)]
    public override async Task<Wire.CustomerOverview> GetCustomerOverview(Wire.GetCustomerOverviewRequest request, ServerCallContext context)
    {
        var ct = context.CancellationToken;
        _ = GrpcIds.Parse(Ids.Customer, request.CustomerId, "customer");
        var customer = await customers.FindAsync(request.CustomerId, ct);
        var messages = db.Messages.AsNoTracking().Where(m => m.CustomerId == customer && m.Kind == MessageKind.Campaign);
        if (await db.ReadableLedgersAsync(customer, ct) is { } readable)
        {
            // Not counted either: a count would tell.
            messages = messages.Where(m => readable.Contains(m.CampaignId!.Value));
        }

        var sent = await messages.Where(m => m.Status == MessageStatus.Sent)
            .GroupBy(_ => 1).Select(g => new { Count = g.Count(), Last = g.Max(m => m.SentAt) }).FirstOrDefaultAsync(ct);
        var recent = await messages.OrderByDescending(m => m.Id).Take(Recent)
            .Join(db.Campaigns, m => m.CampaignId, c => (Guid?)c.Id, (m, c) => new { Message = m, CampaignName = c.Name })
            .ToListAsync(ct);
        var consents = await db.CustomerConsents.AsNoTracking().Where(c => c.CustomerId == customer && c.State != ConsentRecorded.NothingSaid)
            .OrderBy(c => c.Channel).ThenBy(c => c.Purpose).ToListAsync(ct);

        var overview = new Wire.CustomerOverview { AsOf = Timestamp.FromDateTimeOffset(clock.GetUtcNow()), MessagesSent = sent?.Count ?? 0 };
        if (sent?.Last is { } last)
        {
            overview.LastMessageAt = Timestamp.FromDateTimeOffset(last);
        }

        overview.Recent.AddRange(recent.OrderByDescending(r => r.Message.Id).Select(r => new Wire.Message
        {
            Id = Ids.Message.Format(r.Message.Id),
            CampaignId = Ids.Campaign.Format(r.Message.CampaignId!.Value),
            CampaignName = r.CampaignName,
            Channel = r.Message.Channel.ToWord(),
            Status = r.Message.Status.ToWord(),
            At = Timestamp.FromDateTimeOffset(r.Message.FinishedAt ?? r.Message.CreatedAt),
        }));
        overview.Consents.AddRange(consents.Select(c => new Wire.ConsentState { Channel = c.Channel, Purpose = c.Purpose, State = c.State }));
        return overview;
    }
}

using Crm.Campaigns.Domain.Campaigns;
using Crm.Campaigns.Features.Campaigns;
using Crm.CustomerCopy;
using Crm.CustomerCopy.Projections;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Features.Sending;

/// <summary>Messages of campaigns that were sent, told once more.</summary>
internal static class SentMessages
{
    /// <summary>
    /// The ledger does not keep the subject, which may address its reader. One that names no variable is that of the campaign,
    /// which does not change once it is launched; another is written anew, of what is known of the customer now.
    /// </summary>
    public static async Task<IReadOnlyList<ReplayedRow>> TellSentAsync(this CampaignsDb db, IReadOnlyList<Message> messages, CancellationToken ct)
    {
        var (campaigns, owners) = (messages.Select(m => m.CampaignId!.Value).Distinct().ToList(), messages.Select(m => m.CustomerId).Distinct().ToList());
        var told = new Dictionary<Guid, (Campaign Campaign, CompiledTemplate Subject, IReadOnlyList<string> AskedGroups)>();
        foreach (var campaign in await db.Campaigns.AsNoTracking().Where(c => campaigns.Contains(c.Id)).ToListAsync(ct))
        {
            // What a segment asked that has changed since is not known any more.
            var groups = campaign.Definition is null ? [] : await db.LaunchedGroupsAsync(campaign, ct);
            told[campaign.Id] = (campaign, CompiledTemplate.Compile(new(campaign.Subject, campaign.Text, null)), groups);
        }

        var customers = await db.Customers.AsNoTracking().Where(c => owners.Contains(c.Id)).ToDictionaryAsync(c => c.Id, ct);
        return [.. messages.Select(message =>
        {
            var (campaign, template, groups) = told[message.CampaignId!.Value];
            var subject = template.Render(ValuesOf(customers.GetValueOrDefault(message.CustomerId))).Subject;
            var sent = message.Sent(campaign.Name, subject, groups);
            return new ReplayedRow(
                message.Id,
                campaign.Definition is null ? sent with { AskedGroups = null } : sent,
                AsOfNow: campaign.Definition is null || campaign.Subject.Contains("{{", StringComparison.Ordinal));
        })];
    }

    private static Dictionary<string, string?> ValuesOf(Customer? customer) => new(StringComparer.Ordinal)
    {
        ["given_name"] = customer?.GivenName,
        ["family_name"] = customer?.FamilyName,
        ["display_name"] = customer?.DisplayName,
        ["email"] = customer?.PrimaryEmail,
        ["country"] = customer?.Country,
        ["locale"] = customer?.Locale,
        ["lifecycle"] = customer?.Lifecycle,
        ["tier"] = customer?.Tier,
        ["department"] = customer?.Department,
    };
}

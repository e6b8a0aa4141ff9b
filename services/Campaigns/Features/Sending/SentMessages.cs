using System.Text.Json;
using Crm.Campaigns.Domain.Campaigns;
using Crm.Campaigns.Domain.Segments;
using Crm.Campaigns.Features.Segments;
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
        var sent = await db.Campaigns.AsNoTracking().Where(c => campaigns.Contains(c.Id)).ToListAsync(ct);
        // What a segment asked that has changed since is not known any more.
        var launched = sent.Where(c => c.Definition is not null).ToList();
        var groups = (await db.AskedGroupsAsync(launched.ConvertAll(c => SegmentDefinition.Parse(JsonElement.Parse(c.Definition!))), ct))
            .Zip(launched, (asked, campaign) => (campaign.Id, asked)).ToDictionary(g => g.Id, g => g.asked);
        var told = sent.ToDictionary(c => c.Id, c => (Campaign: c, Subject: NamesVariables(c) ? CompiledTemplate.Compile(new(c.Subject, c.Text, null)) : null));
        var customers = await db.Customers.AsNoTracking().Where(c => owners.Contains(c.Id)).ToDictionaryAsync(c => c.Id, ct);
        return [.. messages.Select(message =>
        {
            var (campaign, template) = told[message.CampaignId!.Value];
            var subject = template is null ? CompiledTemplate.OneLine(campaign.Subject) : template.Render(ValuesOf(customers.GetValueOrDefault(message.CustomerId))).Subject;
            var asked = groups.GetValueOrDefault(campaign.Id);
            var replayed = message.Sent(campaign.Name, subject, asked ?? []);
            return new ReplayedRow(message.Id, asked is null ? replayed with { AskedGroups = null } : replayed, AsOfNow: asked is null || template is not null);
        })];
    }

    private static bool NamesVariables(Campaign campaign) => campaign.Subject.Contains("{{", StringComparison.Ordinal);

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

using Crm.Hosting.Web;

namespace Crm.Campaigns.Domain.Campaigns;

public enum MessageChannel
{
    Email,
}

public enum CampaignStatus
{
    Draft,
    Sending,
    Completed,
}

/// <summary>
/// A message to the members of a segment. Whether a launched one is complete is computed from its ledger, so
/// it is not stored here.
/// </summary>
internal sealed class Campaign
{
    private Campaign()
    {
    }

    public Guid Id { get; private set; }
    public long Version { get; private set; }
    public string Name { get; private set; } = "";
    public Guid SegmentId { get; private set; }
    public MessageChannel Channel { get; private set; }
    public string Subject { get; private set; } = "";
    public string Text { get; private set; } = "";
    public string? Html { get; private set; }
    public DateTimeOffset? LaunchedAt { get; private set; }

    /// <summary>The trace in which it was launched; the traces of its messages link to it.</summary>
    public string? LaunchTrace { get; private set; }

    /// <summary>What its segment asked when it was launched, as JSON; null before, and of one that was launched before this was kept.</summary>
    public string? Definition { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }

    public static Campaign Draft(string name, Guid segmentId, MessageChannel channel, MailTemplate template, DateTimeOffset now)
    {
        var campaign = new Campaign { Id = Guid.CreateVersion7(now), CreatedAt = now };
        campaign.Take(name, segmentId, channel, template, now);
        return campaign;
    }

    /// <exception cref="RuleViolationException">It is launched.</exception>
    public void Change(string name, Guid segmentId, MessageChannel channel, MailTemplate template, DateTimeOffset now)
    {
        RequireDraft("is launched and can no longer be changed");
        Take(name, segmentId, channel, template, now);
    }

    /// <param name="definition">Of the segment.</param>
    /// <exception cref="RuleViolationException">It is launched already.</exception>
    public void Launch(DateTimeOffset now, string? trace, string definition)
    {
        RequireDraft("was launched before");
        LaunchedAt = now;
        LaunchTrace = trace;
        Definition = definition;
        UpdatedAt = now;
        Version++;
    }

    /// <param name="open">Whether the ledger has messages that are neither sent nor given up.</param>
    public CampaignStatus Status(bool open) => (LaunchedAt, open) switch
    {
        (null, _) => CampaignStatus.Draft,
        (_, true) => CampaignStatus.Sending,
        _ => CampaignStatus.Completed,
    };

    private void Take(string name, Guid segmentId, MessageChannel channel, MailTemplate template, DateTimeOffset now)
    {
        Name = name;
        SegmentId = segmentId;
        Channel = channel;
        (Subject, Text, Html) = (template.Subject, template.Text, template.Html);
        UpdatedAt = now;
        Version++;
    }

    private void RequireDraft(string otherwise)
    {
        if (LaunchedAt is not null)
        {
            throw new RuleViolationException($"The campaign {otherwise}.");
        }
    }
}

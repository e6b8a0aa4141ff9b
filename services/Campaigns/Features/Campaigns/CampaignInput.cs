using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using Crm.Campaigns.Domain.Campaigns;
using Crm.Campaigns.Domain.Segments;
using Crm.Campaigns.Features.Segments;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.Campaigns.Features.Campaigns;

/// <summary>The writable fields of a campaign.</summary>
public sealed record CampaignInput
{
    [Required, Line(200)]
    public string? Name { get; init; }

    [Required]
    public string? SegmentId { get; init; }

    /// <summary>Default <c>email</c>.</summary>
    public MessageChannel? Channel { get; init; }

    [Required]
    public TemplateInput? Template { get; init; }

    internal static CampaignInput Of(Campaign campaign) => new()
    {
        Name = campaign.Name,
        SegmentId = Ids.Segment.Format(campaign.SegmentId),
        Channel = campaign.Channel,
        Template = TemplateInput.Of(campaign),
    };
}

/// <summary>
/// Handlebars with the variables given_name, family_name, display_name, email, country, locale, lifecycle, tier and
/// department, and the blocks #if and #unless.
/// </summary>
public sealed record TemplateInput
{
    [Required, Line(300)]
    public string? Subject { get; init; }

    [Required, Prose(200_000)]
    public string? Text { get; init; }

    /// <summary>Values are escaped. Without it the mail is text only.</summary>
    [Prose(400_000)]
    public string? Html { get; init; }

    internal static TemplateInput Of(Campaign campaign) => new() { Subject = campaign.Subject, Text = campaign.Text, Html = campaign.Html };

    /// <exception cref="ProblemException">400 with a pointer to each part that is broken.</exception>
    internal MailTemplate ToTemplate()
    {
        var template = new MailTemplate(Subject!, Text!, string.IsNullOrWhiteSpace(Html) ? null : Html);
        _ = CompiledTemplate.Compile(template);
        return template;
    }
}

/// <summary>A campaign as the API shows it.</summary>
public sealed record CampaignView(
    string Id,
    string Name,
    string SegmentId,
    MessageChannel Channel,
    TemplateInput Template,
    CampaignStatus Status,
    DateTimeOffset? LaunchedAt,
    long Version,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt)
{
    /// <param name="open">Whether messages wait or are being sent.</param>
    internal static CampaignView Of(Campaign campaign, bool open)
    {
        var status = campaign.Status(open);
        return new(
            Ids.Campaign.Format(campaign.Id), campaign.Name, Ids.Segment.Format(campaign.SegmentId), campaign.Channel, TemplateInput.Of(campaign),
            status, campaign.LaunchedAt, VersionOf(campaign, status), campaign.CreatedAt, campaign.UpdatedAt);
    }

    /// <summary>Becoming complete is a change that no row records, and it comes last.</summary>
    internal static long VersionOf(Campaign campaign, CampaignStatus status) => campaign.Version + (status == CampaignStatus.Completed ? 1 : 0);
}

internal static class CampaignQueries
{
    /// <exception cref="ProblemException">404.</exception>
    public static async Task<Campaign> FindCampaignAsync(this CampaignsDb db, string id, CancellationToken ct) =>
        Ids.Campaign.TryParse(id, out var key) && await db.Campaigns.FirstOrDefaultAsync(c => c.Id == key, ct) is { } campaign
            ? campaign
            : throw ProblemException.NotFound("campaign");

    /// <summary>A campaign whose ledger the caller may read: who is in it, and how many they are, tells what the segment asked when it was launched.</summary>
    /// <exception cref="ProblemException">404; 403 <c>field_forbidden</c> when it asked for what the caller may not see.</exception>
    public static async Task<Campaign> FindLedgerAsync(this CampaignsDb db, string id, CancellationToken ct)
    {
        var campaign = await db.FindCampaignAsync(id, ct);
        _ = await db.ReadForCallerAsync(await db.DefinitionOfAsync(campaign, ct), ct);
        return campaign;
    }

    /// <summary>The field groups that its segment asked about when it was launched.</summary>
    /// <exception cref="ProblemException">503 when it asked about attributes and Contacts, who knows their groups, cannot be reached.</exception>
    public static async Task<IReadOnlyList<string>> LaunchedGroupsAsync(this CampaignsDb db, Campaign campaign, CancellationToken ct) =>
        (await db.AskedGroupsAsync([SegmentDefinition.Parse(await db.DefinitionOfAsync(campaign, ct))], ct))[0];

    private static async Task<JsonElement> DefinitionOfAsync(this CampaignsDb db, Campaign campaign, CancellationToken ct) => campaign.Definition is { } launched
        ? JsonElement.Parse(launched)
        : (await db.Segments.AsNoTracking().FirstAsync(s => s.Id == campaign.SegmentId, ct)).Definition;

    /// <summary>
    /// Of the campaigns that have messages to the customer, those whose ledger the caller may read (<see cref="FindLedgerAsync"/>):
    /// that one wrote to a customer tells of that customer what its segment asked. Null: all.
    /// </summary>
    /// <exception cref="ProblemException">503 when one asked about attributes and Contacts, who knows their groups, cannot be reached.</exception>
    public static async Task<Guid[]?> ReadableLedgersAsync(this CampaignsDb db, Guid customer, CancellationToken ct)
    {
        if (CallerRights.Current.AllFields)
        {
            return null;
        }

        var campaigns = await db.Campaigns.Where(c => db.Messages.Any(m => m.CampaignId == c.Id && m.CustomerId == customer))
            .Select(c => new { c.Id, c.SegmentId, c.Definition }).ToListAsync(ct);
        var unkept = campaigns.Where(c => c.Definition is null).Select(c => c.SegmentId).Distinct().ToArray();
        var segments = await db.Segments.AsNoTracking().Where(s => unkept.Contains(s.Id)).ToDictionaryAsync(s => s.Id, s => s.Definition, ct);
        var hidden = await db.HiddenGroupsAsync(
            campaigns.ConvertAll(c => SegmentDefinition.Parse(c.Definition is { } launched ? JsonElement.Parse(launched) : segments[c.SegmentId])), ct);
        return [.. campaigns.Where((_, index) => hidden[index] is null).Select(c => c.Id)];
    }

    /// <summary>Those of the campaigns that have messages which wait or are being sent.</summary>
    public static async Task<HashSet<Guid>> OpenCampaignsAsync(this CampaignsDb db, IEnumerable<Guid> campaigns, CancellationToken ct)
    {
        var ids = campaigns.ToArray();
        return [.. await db.Campaigns
            .Where(c => ids.Contains(c.Id)
                && db.Messages.Any(m => m.CampaignId == c.Id && (m.Status == MessageStatus.Pending || m.Status == MessageStatus.Sending)))
            .Select(c => c.Id)
            .ToListAsync(ct)];
    }

    /// <exception cref="ProblemException">422 when there is no such segment.</exception>
    public static async Task<Guid> RequireSegmentAsync(this CampaignsDb db, string? id, CancellationToken ct) =>
        Ids.Segment.TryParse(id, out var key) && await db.Segments.AnyAsync(s => s.Id == key, ct) ? key : throw UnknownSegment();

    /// <summary>Saves; the segment may have been deleted meanwhile.</summary>
    public static async Task SaveCampaignAsync(this CampaignsDb db, Campaign campaign, CancellationToken ct)
    {
        db.AuditRow("campaign", campaign.Id, customerId: null, campaign);
        try
        {
            await db.SaveChangesAsync(ct);
        }
        catch (DbUpdateConcurrencyException)
        {
            throw new ProblemException(ProblemCodes.StaleVersion, "The record was changed meanwhile; read it again.");
        }
        catch (DbUpdateException exception) when (exception.InnerException is PostgresException { ConstraintName: CampaignsDb.CampaignSegmentKey })
        {
            throw UnknownSegment();
        }
    }

    private static ProblemException UnknownSegment() =>
        new(ProblemCodes.UnknownReference, "There is no such segment.", new FieldError("/segment_id", "unknown_reference"));
}

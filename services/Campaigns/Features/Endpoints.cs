using Crm.Campaigns.Features.Campaigns;
using Crm.Campaigns.Features.Links;
using Crm.Campaigns.Features.Segments;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;

namespace Crm.Campaigns.Features;

/// <summary>What Campaigns can do, over HTTP.</summary>
internal static class Endpoints
{
    public static void MapCampaigns(this IEndpointRouteBuilder app)
    {
        var segments = app.MapGroup("/v1/segments").WithTags("segments");
        segments.MapPost("/", CreateSegment.Handle).RequireScope(Scopes.SegmentsWrite).WithName("createSegment");
        segments.MapGet("/", ListSegments.Handle).RequireScope(Scopes.SegmentsRead).WithName("listSegments").WithQuery(PageRequest.Parameters);
        segments.MapPost("/preview", PreviewSegment.Handle).RequireScope(Scopes.SegmentsRead).WithName("previewSegment");
        segments.MapGet("/{id}", ReadSegment.Handle).RequireScope(Scopes.SegmentsRead).WithName("readSegment");
        segments.MapPatch("/{id}", PatchSegment.Handle).RequireScope(Scopes.SegmentsWrite).WithName("patchSegment").RequireIfMatch()
            .Accepts<SegmentInput>("application/merge-patch+json", "application/json");
        segments.MapDelete("/{id}", DeleteSegment.Handle).RequireScope(Scopes.SegmentsWrite).WithName("deleteSegment").RequireIfMatch();
        segments.MapGet("/{id}/members", ListMembers.Handle).RequireScope(Scopes.SegmentsRead).WithName("listSegmentMembers").WithQuery(PageRequest.Parameters);

        var campaigns = app.MapGroup("/v1/campaigns").WithTags("campaigns");
        campaigns.MapPost("/", CreateCampaign.Handle).RequireScope(Scopes.CampaignsWrite).WithName("createCampaign");
        campaigns.MapGet("/", ListCampaigns.Handle).RequireScope(Scopes.CampaignsRead).WithName("listCampaigns").WithQuery(PageRequest.Parameters);
        campaigns.MapGet("/{id}", ReadCampaign.Handle).RequireScope(Scopes.CampaignsRead).WithName("readCampaign").Produces<CampaignView>();
        campaigns.MapPatch("/{id}", PatchCampaign.Handle).RequireScope(Scopes.CampaignsWrite).WithName("patchCampaign").RequireIfMatch()
            .Accepts<CampaignInput>("application/merge-patch+json", "application/json");
        campaigns.MapPost("/{id}/launch", LaunchCampaign.Handle).RequireScope(Scopes.CampaignsWrite).WithName("launchCampaign");
        campaigns.MapGet("/{id}/results", ReadResults.Handle).RequireScope(Scopes.CampaignsRead).WithName("readCampaignResults");
        campaigns.MapGet("/{id}/messages", ListMessages.Handle).RequireScope(Scopes.CampaignsRead).WithName("listCampaignMessages").WithQuery(ListMessages.Parameters);
    }

    /// <summary>
    /// Where the links of mails lead, for people and their mailbox providers, through the gateway without login. Only
    /// POST changes anything: scanners follow every link of a mail.
    /// </summary>
    public static void MapLinks(this IEndpointRouteBuilder app)
    {
        string[] looks = [HttpMethods.Get, HttpMethods.Head];
        var links = app.MapGroup("/u").RequireAuthorization().ExcludeFromDescription();
        links.MapMethods("/{token}", looks, Unsubscribe.Show);
        links.MapPost("/{token}", Unsubscribe.Act);
        links.MapMethods("/p/{token}", looks, Preferences.Show);
        links.MapPost("/p/{token}", Preferences.Act);
        links.MapMethods("/c/{token}", looks, ConfirmConsent.Show);
        links.MapPost("/c/{token}", ConfirmConsent.Act);
    }
}

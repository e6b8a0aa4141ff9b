using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;

namespace Crm.Interactions.Features;

/// <summary>What Interactions can do, over HTTP.</summary>
internal static class Endpoints
{
    public static void MapInteractions(this IEndpointRouteBuilder app)
    {
        var interactions = app.MapGroup("/v1/interactions").WithTags("interactions");
        interactions.MapPost("/", LogInteraction.Handle).RequireScope(Scopes.InteractionsWrite).WithName("logInteraction");
        interactions.MapGet("/", ListInteractions.Handle).RequireScope(Scopes.InteractionsRead).WithName("listInteractions").WithQuery(ListInteractions.Parameters);
        interactions.MapGet("/{id}", ReadInteraction.Handle).RequireScope(Scopes.InteractionsRead).WithName("readInteraction").Produces<InteractionView>();
        interactions.MapPatch("/{id}", PatchInteraction.Handle).RequireScope(Scopes.InteractionsWrite).WithName("patchInteraction").RequireIfMatch()
            .Accepts<Domain.InteractionInput>("application/merge-patch+json", "application/json");
        interactions.MapPut("/by-external-id/{source}/{externalId}", UpsertInteraction.Handle).RequireScope(Scopes.InteractionsWrite).WithName("upsertInteraction")
            .Produces<InteractionView>().Produces<InteractionView>(StatusCodes.Status201Created);
        interactions.MapGet("/by-external-id/{source}/{externalId}", ReadInteraction.HandleByExternalId).RequireScope(Scopes.InteractionsRead).WithName("readInteractionByExternalId").Produces<InteractionView>();

        app.MapGet("/v1/customers/{id}/timeline", ReadTimeline.Handle)
            .RequireScope(Scopes.InteractionsRead).WithName("readTimeline").WithTags("timeline").WithQuery(ReadTimeline.Parameters);
    }
}

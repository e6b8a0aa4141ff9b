using Crm.Contracts;
using Crm.Gateway.Limits;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;

namespace Crm.Gateway.Features;

/// <summary>What the gateway answers itself; everything else is a route of appsettings.json.</summary>
internal static class Endpoints
{
    public static void MapGateway(this IEndpointRouteBuilder app)
    {
        var keys = app.MapGroup("/v1/keys").WithTags("keys");
        keys.MapPost("/", CreateKey.Handle).RequireScope(Scopes.KeysAdmin).WithName("createKey");
        keys.MapGet("/", ReadKeys.List).RequireScope(Scopes.KeysAdmin).WithName("listKeys").WithQuery(PageRequest.Parameters);
        keys.MapGet("/{id}", ReadKeys.One).RequireScope(Scopes.KeysAdmin).WithName("readKey").Produces<KeyView>();
        keys.MapPatch("/{id}", PatchKey.Handle).RequireScope(Scopes.KeysAdmin).WithName("patchKey").RequireIfMatch().Accepts<CreateKey.Request>("application/merge-patch+json", "application/json").Produces<KeyView>();
        keys.MapDelete("/{id}", RevokeKey.Handle).RequireScope(Scopes.KeysAdmin).WithName("revokeKey");

        var projections = app.MapGroup("/v1/projections").WithTags("projections");
        projections.MapGet("/", Projections.List).RequireScope(Scopes.KeysAdmin).WithName("listProjections");
        projections.MapPost("/{projection}/rebuilds", Projections.Start).RequireScope(Scopes.KeysAdmin).WithName("startRebuild");
        projections.MapGet("/{projection}/rebuilds/{id}", Projections.Read).RequireScope(Scopes.KeysAdmin).WithName("readRebuild");

        app.MapGet("/v1/customers/{id}/overview", ReadOverview.Handle).RequireScope(Scopes.CustomersRead).WithTags("customers").WithName("readCustomerOverview");

        app.MapGet("/.well-known/jwks.json", ReadSigningKeys.Handle).AllowAnonymous().WithoutLimit().ExcludeFromDescription();
        app.MapGet("/openapi/v1.json", ReadOpenApi.Handle).AllowAnonymous().ExcludeFromDescription();
        app.MapGet("/problems", ReadProblems.List).AllowAnonymous().WithTags("problems").WithName("listProblems");
        app.MapGet("/problems/{code}", ReadProblems.One).AllowAnonymous().WithTags("problems").WithName("readProblem");
    }
}

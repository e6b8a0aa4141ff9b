using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;

namespace Crm.Support.Features;

/// <summary>What Support can do, over HTTP.</summary>
internal static class Endpoints
{
    public static void MapSupport(this IEndpointRouteBuilder app)
    {
        var cases = app.MapGroup("/v1/cases").WithTags("cases");
        cases.MapPost("/", OpenCase.Handle).RequireScope(Scopes.CasesWrite).WithName("openCase");
        cases.MapGet("/", ListCases.Handle).RequireScope(Scopes.CasesRead).WithName("listCases").WithQuery(ListCases.Parameters);
        cases.MapGet("/{id}", ReadCase.Handle).RequireScope(Scopes.CasesRead).WithName("readCase").Produces<WholeCaseView>();
        cases.MapPatch("/{id}", PatchCase.Handle).RequireScope(Scopes.CasesWrite).WithName("patchCase").RequireIfMatch()
            .Accepts<PatchCase.Patchable>("application/merge-patch+json", "application/json");
        cases.MapPost("/{id}/messages", ReplyToCase.Handle).RequireScope(Scopes.CasesWrite).WithName("replyToCase");
        cases.MapGet("/{id}/messages", ListCaseMessages.Handle).RequireScope(Scopes.CasesRead).WithName("listCaseMessages").WithQuery(PageRequest.Parameters);
        cases.MapPost("/{id}/assign", AssignCase.Handle).RequireScope(Scopes.CasesWrite).WithName("assignCase");
        cases.MapPost("/{id}/solve", SolveCase.Handle).RequireScope(Scopes.CasesWrite).WithName("solveCase");
        cases.MapPost("/{id}/reopen", ReopenCase.Handle).RequireScope(Scopes.CasesWrite).WithName("reopenCase");
        cases.MapPut("/by-external-id/{source}/{externalId}", UpsertCase.Handle).RequireScope(Scopes.CasesWrite).WithName("upsertCase")
            .Produces<CaseView>().Produces<CaseView>(StatusCodes.Status201Created);
        cases.MapGet("/by-external-id/{source}/{externalId}", ReadCase.HandleByExternalId).RequireScope(Scopes.CasesRead).WithName("readCaseByExternalId").Produces<WholeCaseView>();
    }
}

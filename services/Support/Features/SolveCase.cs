using Crm.Contracts;
using Crm.Hosting.Rights;
using System.ComponentModel.DataAnnotations;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Support.Features;

/// <summary>Solves a case that is not solved.</summary>
internal static class SolveCase
{
    public sealed record Request
    {
        /// <summary>What was done about it.</summary>
        [Required, Prose(20_000)]
        [FieldGroup(FieldGroups.Notes)]
        public string? Resolution { get; init; }
    }

    public static async Task<Ok<CaseView>> Handle(string id, Request body, HttpContext http, SupportDb db, TimeProvider clock, CancellationToken ct) =>
        http.Answer(await db.ChangeAsync(id, it =>
        {
            it.Solve(body.Resolution!, http.Now(clock));
            return true;
        }, ct));
}

using System.ComponentModel.DataAnnotations;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Support.Features;

/// <summary>Gives a case to somebody; to the one who has it already, nothing happens.</summary>
internal static class AssignCase
{
    public sealed record Request
    {
        /// <summary>An employee's e-mail address or name.</summary>
        [Required, Line(254)]
        public string? Assignee { get; init; }
    }

    public static async Task<Ok<CaseView>> Handle(string id, Request body, HttpContext http, SupportDb db, TimeProvider clock, CancellationToken ct) =>
        http.Answer(await db.ChangeAsync(id, it => it.Assign(body.Assignee!, http.Now(clock)), ct));
}

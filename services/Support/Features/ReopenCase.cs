using Crm.Contracts;
using Crm.Hosting.Rights;
using System.ComponentModel.DataAnnotations;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Support.Features;

/// <summary>Reopens a solved case.</summary>
internal static class ReopenCase
{
    public sealed record Request
    {
        [Required, Prose(20_000)]
        [FieldGroup(FieldGroups.Notes)]
        public string? Reason { get; init; }
    }

    public static async Task<Ok<CaseView>> Handle(string id, Request body, HttpContext http, SupportDb db, TimeProvider clock, CancellationToken ct) =>
        http.Answer(await db.ChangeAsync(id, it =>
        {
            it.Reopen(body.Reason!, http.Now(clock));
            return true;
        }, ct));
}

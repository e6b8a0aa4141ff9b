using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Crm.Support.Domain;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Support.Features;

/// <summary>JSON merge patch (RFC 7396) of subject, description, priority, queue and type; needs <c>If-Match</c>.</summary>
internal static class PatchCase
{
    /// <summary>What may be patched; the customer stays.</summary>
    public sealed record Patchable(
        CaseType? Type, [property: FieldGroup(FieldGroups.Notes)] string? Subject, [property: FieldGroup(FieldGroups.Notes)] string? Description, CasePriority? Priority, string? Queue);

    public static async Task<Ok<CaseView>> Handle(
        string id, HttpContext http, SupportDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        var patch = await MergePatch.ReadAsync(http.Request, ct);
        var it = await db.ChangeAsync(id, async it =>
        {
            ETags.RequireMatch(http, it.Version);
            var before = it.ToInput();
            var patched = MergePatch.Apply(new Patchable(before.Type, before.Subject, before.Description, before.Priority, before.Queue), patch);
            var input = before with
            {
                Type = patched.Type,
                Subject = patched.Subject,
                Description = patched.Description,
                Priority = patched.Priority,
                Queue = patched.Queue,
            };
            await validation.EnsureValidAsync(input, ct);
            return it.Change(it.CustomerId, input, http.Now(clock));
        }, ct);
        return http.Answer(it);
    }
}

using Crm.Contacts.Domain.CustomFields;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>
/// Changes a definition by merge patch, or archives it: its values stay with the customers and are no longer written. Both
/// need <c>If-Match</c>. 409 <c>conflict</c> for another type when customers have values, and for <c>unique</c> when several have
/// the same.
/// </summary>
internal static class ChangeCustomField
{
    public static async Task<Ok<CustomFieldView>> Patch(string id, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        var patch = await MergePatch.ReadAsync(http.Request, ct);
        var field = await ChangeAsync(id, current => MergePatch.Apply(current, patch), http, db, validation, clock, ct);
        return TypedResults.Ok(CustomFieldView.Of(field));
    }

    public static async Task<NoContent> Archive(string id, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        await ChangeAsync(id, current => current with { Archived = true }, http, db, validation, clock, ct);
        return TypedResults.NoContent();
    }

    private static async Task<CustomField> ChangeAsync(
        string id, Func<CustomFieldInput, CustomFieldInput> change, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        var changed = await db.InTransactionAsync(async () =>
        {
            await db.LockFieldsAsync(ct);
            var field = await db.FindFieldAsync(id, ct);
            ETags.RequireMatch(http, field.Version);
            var input = change(field.ToInput());
            await validation.EnsureValidAsync(input, ct);
            if (await field.ChangeAsync(input, () => IsUsedAsync(db, field.Name, ct), clock.GetUtcNow()))
            {
                await db.RequireRoomForIndexAsync(field, ct);
                await db.RequireApartAsync(field, ct);
                db.AuditRow(CustomField.RecordType, field.Id, null, field);
                await db.SaveChangesAsync(ct);
            }

            return field;
        }, ct);
        http.Response.Headers.ETag = ETags.Of(changed.Version);
        return changed;
    }

    private static Task<bool> IsUsedAsync(ContactsDb db, string name, CancellationToken ct) =>
        db.Database.SqlQuery<bool>($"SELECT EXISTS (SELECT FROM customers WHERE attributes ? {name}) AS \"Value\"").SingleAsync(ct);
}

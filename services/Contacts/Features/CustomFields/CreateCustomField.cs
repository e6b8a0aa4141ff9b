using Crm.Contacts.Domain.CustomFields;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>
/// Defines an attribute of customers. From then on every new value of it is of its type; values that were there before stay
/// until they change. 409 <c>conflict</c> when the name is taken, by an archived field too.
/// </summary>
internal static class CreateCustomField
{
    /// <summary>All are read with every customer that is written.</summary>
    private const int MostFields = 500;

    /// <summary>Each is written with every customer.</summary>
    private const int MostIndexes = 50;

    public static async Task<Created<CustomFieldView>> Handle(CustomFieldInput body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var field = await db.InTransactionAsync(async () =>
        {
            await db.LockFieldsAsync(ct);
            if (await db.CustomFields.AsNoTracking().FirstOrDefaultAsync(f => f.Name == body.Name, ct) is { } there)
            {
                throw new ProblemException(ProblemCodes.Conflict, "There is a field of this name.", new FieldError("/name", "already_exists"))
                {
                    Extensions = new Dictionary<string, object?> { ["existing_id"] = Ids.CustomField.Format(there.Id) },
                };
            }

            if (await db.CustomFields.CountAsync(ct) >= MostFields)
            {
                throw new ProblemException(ProblemCodes.Unprocessable, $"An installation has at most {MostFields} fields.");
            }

            var defined = CustomField.Define(body, clock.GetUtcNow());
            await db.RequireRoomForIndexAsync(defined, ct);
            await db.RequireApartAsync(defined, ct);
            db.CustomFields.Add(defined);
            db.AuditRow(CustomField.RecordType, defined.Id, null, defined);
            await db.SaveChangesAsync(ct);
            return defined;
        }, ct);
        http.Response.Headers.ETag = ETags.Of(field.Version);
        var view = CustomFieldView.Of(field);
        return TypedResults.Created($"/v1/custom-fields/{view.Id}", view);
    }

    /// <exception cref="ProblemException">422.</exception>
    public static async Task RequireRoomForIndexAsync(this ContactsDb db, CustomField field, CancellationToken ct)
    {
        var own = (field.IndexState is null ? 0 : 1) + (field.UniqueState is null ? 0 : 1);
        if (own > 0 && own + await db.CustomFields.Where(f => f.Id != field.Id).SumAsync(f => (f.IndexState == null ? 0 : 1) + (f.UniqueState == null ? 0 : 1), ct) > MostIndexes)
        {
            throw new ProblemException(
                ProblemCodes.Unprocessable, $"An installation has at most {MostIndexes} indexed and unique fields.", new FieldError(field.IndexState is null ? "/unique" : "/indexed", "too_many"));
        }
    }
}

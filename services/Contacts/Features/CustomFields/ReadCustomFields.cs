using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>The definitions, newest first, archived ones too; and one of them.</summary>
internal static class ReadCustomFields
{
    public static Task<Page<CustomFieldView>> List(HttpRequest request, ContactsDb db, CancellationToken ct) =>
        db.CustomFields.AsNoTracking().ToPageAsync(PageRequest.Read(request, Ids.CustomField), f => f.Id, Ids.CustomField, CustomFieldView.Of, ct);

    public static async Task<Ok<CustomFieldView>> One(string id, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var field = await db.FindFieldAsync(id, ct);
        // Of what people define: the state of the index goes its own way, so there is no 304.
        http.Response.Headers.ETag = ETags.Of(field.Version);
        return TypedResults.Ok(CustomFieldView.Of(field));
    }
}

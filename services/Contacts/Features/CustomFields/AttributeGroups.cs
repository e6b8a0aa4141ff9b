using Crm.Contracts;
using Crm.Hosting.Rights;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>Fields that take another field group than <c>custom_fields</c> to read, for callers whose roles restrict them.</summary>
internal static class AttributeGroups
{
    /// <summary>After authorization: whatever answers the request, over HTTP or gRPC, shows attributes as the definitions of this moment say.</summary>
    public static void UseAttributeGroups(this IApplicationBuilder app) => app.Use(async (http, next) =>
    {
        if (http.User.Identity?.IsAuthenticated is true && !CallerRights.Current.AllFields)
        {
            CallerRights.Current.Know(await http.RequestServices.GetRequiredService<ContactsDb>().ReadAttributeGroupsAsync(http.RequestAborted));
        }

        await next(http);
    });

    /// <summary>By name of the field.</summary>
    public static Task<Dictionary<string, string>> ReadAttributeGroupsAsync(this ContactsDb db, CancellationToken ct) =>
        db.CustomFields.AsNoTracking().Where(f => f.FieldGroup != FieldGroups.CustomFields).ToDictionaryAsync(f => f.Name, f => f.FieldGroup, StringComparer.Ordinal, ct);
}

using Crm.Hosting.Data;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace Crm.Hosting.Rights;

/// <summary>What a department lets another one do with all of its records.</summary>
/// <param name="FieldGroup">In them only the fields of this group; null: the whole records.</param>
/// <param name="Write">To change them without approval; what may be changed may be read.</param>
public sealed record DepartmentGrant(string Owner, string? FieldGroup, bool Write);

/// <summary>An answer about a record of which the caller reaches the fields of some groups only.</summary>
public interface IPartOfRecord
{
    /// <summary>What has another group is left out; null: the whole record.</summary>
    IReadOnlySet<string>? Granted { get; }
}

internal static class DepartmentGrants
{
    /// <summary>After authorization: whatever answers the request, over HTTP or gRPC, goes by the grants of this moment.</summary>
    public static void UseDepartmentGrants(this IApplicationBuilder app) => app.Use(async (http, next) =>
    {
        if (CallerRights.Current is { Departments.Count: > 0 } rights)
        {
            rights.Know(await http.RequestServices.GetRequiredService<CrmDbContext>().ReadGrantsAsync(rights.Departments, http.RequestAborted));
        }

        await next(http);
    });
}

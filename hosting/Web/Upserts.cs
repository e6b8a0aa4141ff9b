using Microsoft.AspNetCore.Http;

namespace Crm.Hosting.Web;

/// <summary>What an upsert did.</summary>
public enum UpsertResult
{
    Created,
    Updated,
    Unchanged,
}

public static class Upserts
{
    /// <summary>201 with its place when it was created, 200 else; with the tag of its version.</summary>
    public static IResult Answer<T>(this UpsertResult result, HttpContext http, long version, string location, T view)
    {
        http.Response.Headers.ETag = ETags.Of(version);
        return result == UpsertResult.Created ? TypedResults.Created(location, view) : TypedResults.Ok(view);
    }
}

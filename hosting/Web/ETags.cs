using System.Globalization;
using Crm.Contracts;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Crm.Hosting.Web;

/// <summary>The operation answers 428 without <c>If-Match</c>; see <see cref="ETags.RequireMatch"/>.</summary>
/// <param name="OfExisting">Not when it makes the record.</param>
internal sealed record IfMatchRequired(bool OfExisting);

/// <summary>A record's version as its strong entity tag (RFC 9110).</summary>
public static class ETags
{
    public static string Of(long version) => string.Create(CultureInfo.InvariantCulture, $"\"{version}\"");

    /// <summary>Sets the tag and answers 200, or 304 when <c>If-None-Match</c> names it.</summary>
    public static IResult Ok<T>(HttpContext http, long version, T value)
    {
        http.Response.Headers.ETag = Of(version);
        return Matches(http.Request.Headers.IfNoneMatch, version) ? TypedResults.StatusCode(StatusCodes.Status304NotModified) : TypedResults.Ok(value);
    }

    /// <exception cref="ProblemException">428 without If-Match, 412 when it names another version; both tell the current tag.</exception>
    public static void RequireMatch(HttpContext http, long version)
    {
        var ifMatch = http.Request.Headers.IfMatch;
        if (ifMatch.Count == 0)
        {
            throw new ProblemException(ProblemCodes.PreconditionRequired, "Send If-Match with the ETag of the version that you changed.") { ETag = Of(version) };
        }

        if (!Matches(ifMatch, version))
        {
            throw new ProblemException(ProblemCodes.StaleVersion, $"The record is at version {version}; read it again.") { ETag = Of(version) };
        }
    }

    /// <summary>The API's description says that the operation wants <c>If-Match</c>; its handler calls <see cref="RequireMatch"/>.</summary>
    public static TBuilder RequireIfMatch<TBuilder>(this TBuilder endpoint, bool ofExisting = false) where TBuilder : IEndpointConventionBuilder =>
        endpoint.WithMetadata(new IfMatchRequired(ofExisting));

    private static bool Matches(IEnumerable<string?> header, long version) =>
        header.SelectMany(h => (h ?? "").Split(',', StringSplitOptions.TrimEntries)).Any(t => t == "*" || t == Of(version));
}

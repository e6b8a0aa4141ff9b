using Microsoft.AspNetCore.Http;

namespace Crm.Hosting.Web;

internal static class RouteValues
{
    /// <summary>The server decodes all of a path but <c>%2F</c>; in one segment of it this can only be a part of an id.</summary>
    public static Task UnescapeSlashes(HttpContext http, RequestDelegate next)
    {
        foreach (var (name, value) in http.Request.RouteValues.ToArray())
        {
            if (value is string text && text.Contains("%2F", StringComparison.OrdinalIgnoreCase))
            {
                http.Request.RouteValues[name] = text.Replace("%2F", "/", StringComparison.OrdinalIgnoreCase);
            }
        }

        return next(http);
    }
}

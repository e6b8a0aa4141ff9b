using Crm.Contracts;
using Crm.Hosting;
using Crm.Hosting.Web;
using Yarp.ReverseProxy.Model;

namespace Crm.Gateway;

/// <summary>What holds for every request before anything else: a known path, a body of a size that is accepted, safe headers on the answer.</summary>
internal static class EdgeRules
{
    public static async Task ApplyAsync(HttpContext http, RequestDelegate next)
    {
        http.Response.OnStarting(() =>
        {
            var headers = http.Response.Headers;
            headers.XContentTypeOptions = "nosniff";
            headers.Remove("Server");
            headers.Remove("X-Powered-By");
            if (http.Request.IsHttps)
            {
                headers.StrictTransportSecurity = "max-age=31536000";
            }

            return Task.CompletedTask;
        });

        if (http.GetEndpoint() is null)
        {
            await Problems.WriteAsync(http, ProblemCodes.NotFound, "There is nothing at this path.");
        }
        else if (http.Request.Headers.TransferEncoding.Count > 0 && http.Request.Headers.ContainsKey("X-Content-Length"))
        {
            // Kestrel renames Content-Length so when both came. Two servers may read that differently (RFC 9112, section 6.3).
            await Problems.WriteAsync(http, ProblemCodes.BadRequest, "Content-Length and Transfer-Encoding exclude each other.");
        }
        else if (http.Request.ContentLength > LimitOf(http))
        {
            // Said before a byte of the body is read; the server closes the connection instead of reading on.
            await Problems.WriteAsync(http, ProblemCodes.BodyTooLarge, $"A body has at most {LimitOf(http)} bytes here.");
        }
        else
        {
            await next(http);
        }
    }

    /// <summary>A route may take more: imports are streamed.</summary>
    private static long LimitOf(HttpContext http) =>
        http.GetEndpoint()?.Metadata.GetMetadata<RouteModel>()?.Config.MaxRequestBodySize ?? CrmService.BodyLimit;
}

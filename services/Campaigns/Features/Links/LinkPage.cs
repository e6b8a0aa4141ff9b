using System.Net.Mime;
using System.Text.Encodings.Web;

namespace Crm.Campaigns.Features.Links;

/// <summary>A small page that a link of a mail leads to: no script, nothing loaded from elsewhere, kept by nobody.</summary>
internal sealed class LinkPage(int status, string title, string body) : IResult
{
    public static LinkPage NotFound { get; } = new(StatusCodes.Status404NotFound, "This link is not known", "<p>It may have been cut off. Please use it exactly as it stands in the mail.</p>");

    public static LinkPage Ok(string title, string body) => new(StatusCodes.Status200OK, title, body);

    public static string Text(string? text) => HtmlEncoder.Default.Encode(text ?? "");

    /// <summary>A button that posts to the page's own address.</summary>
    public static string Button(string text) => $"<form method=\"post\"><button name=\"sure\" value=\"yes\">{Text(text)}</button></form>";

    public Task ExecuteAsync(HttpContext httpContext)
    {
        var response = httpContext.Response;
        response.StatusCode = status;
        response.ContentType = $"{MediaTypeNames.Text.Html}; charset=utf-8";
        response.Headers.CacheControl = "no-store";
        response.Headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
        response.Headers["Referrer-Policy"] = "no-referrer";
        response.Headers["X-Robots-Tag"] = "noindex, nofollow";
        return HttpMethods.IsHead(httpContext.Request.Method) ? Task.CompletedTask : response.WriteAsync($$"""
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{{Text(title)}}</title>
            <style>
            body { font: 1rem/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; max-width: 34rem; margin: 3rem auto; padding: 0 1rem }
            button { font: inherit; padding: .6rem 1.2rem; border: 0; border-radius: .3rem; background: #0b4f9e; color: #fff }
            button:focus-visible, a:focus-visible, input:focus-visible { outline: 3px solid #ffb000; outline-offset: 2px }
            blockquote { margin: 1rem 0; padding-left: 1rem; border-left: 3px solid #767676; white-space: pre-wrap }
            </style>
            </head>
            <body>
            <main>
            <h1>{{Text(title)}}</h1>
            {{body}}
            </main>
            </body>
            </html>
            """, httpContext.RequestAborted);
    }
}

using Crm.Contracts;
using Crm.Hosting.Data;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Crm.Hosting.Web;

/// <summary>Which query parameters an endpoint knows; a request with another one is a 400, never a silent miss.</summary>
public static class QueryParameters
{
    private const int MostRepeated = 50;

    /// <param name="Names">One that ends with <c>.*</c> stands for all that begin so; one that ends with <c>+</c> may come several times.</param>
    internal sealed record Known(IReadOnlySet<string> Names)
    {
        private readonly string[] _beginnings = [.. Names.Select(BeginningOf).OfType<string>()];

        /// <summary>Null of a name that stands for itself.</summary>
        public static string? BeginningOf(string name) => name.EndsWith(".*", StringComparison.Ordinal) ? name[..^1] : null;

        /// <summary>Null of a name that comes once.</summary>
        public static string? RepeatedOf(string name) => name.EndsWith('+') ? name[..^1] : null;

        public bool MayRepeat(string name) => Names.Contains($"{name}+");

        public bool Has(string name) => Names.Contains(name) || MayRepeat(name) || _beginnings.Any(b => name.Length > b.Length && name.StartsWith(b, StringComparison.Ordinal));
    }

    /// <summary>One of the parameters is <c>true</c> or <c>false</c>.</summary>
    internal sealed record Flag(string Name);

    public static TBuilder WithQuery<TBuilder>(this TBuilder endpoint, params string[] names) where TBuilder : IEndpointConventionBuilder =>
        endpoint.WithMetadata(new Known(names.ToHashSet(StringComparer.Ordinal)));

    /// <summary>Says so in the OpenAPI document; the endpoint knows it by <c>WithQuery</c>, and reads it.</summary>
    public static TBuilder WithFlag<TBuilder>(this TBuilder endpoint, string name) where TBuilder : IEndpointConventionBuilder =>
        endpoint.WithMetadata(new Flag(name));

    /// <summary>The parameter as one of the enum's words; null when it is not given.</summary>
    /// <exception cref="ProblemException">400 when it is another one.</exception>
    public static T? ReadWord<T>(this HttpRequest request, string parameter) where T : struct, Enum
    {
        if (request.Query[parameter] is not [{ } word])
        {
            return null;
        }

        return EnumWords<T>.TryParse(word, out var value)
            ? value
            : throw ProblemException.InvalidParameter(parameter, $"One of {string.Join(", ", Enum.GetValues<T>().Select(v => v.ToWord()))}.");
    }

    /// <summary>Middleware after authorization.</summary>
    public static async Task CheckAsync(HttpContext http, RequestDelegate next)
    {
        if (http.Request.Query.Count > 0 && http.GetEndpoint() is { } endpoint && endpoint.Metadata.GetMetadata<ScopeMetadata>() is not null)
        {
            var known = endpoint.Metadata.GetMetadata<Known>();
            foreach (var (name, values) in http.Request.Query)
            {
                if (known?.Has(name) is not true)
                {
                    await Problems.WriteAsync(http, ProblemCodes.UnknownParameter, "A query parameter is not known here.", new FieldError(name, "unknown_parameter"));
                    return;
                }

                if ((values.Count != 1 && !(known.MayRepeat(name) && values.Count <= MostRepeated))
                    || values.Any(v => v is null || v.Contains('\0', StringComparison.Ordinal) || v.Contains('\uFFFD', StringComparison.Ordinal)))
                {
                    await Problems.WriteAsync(http, ProblemCodes.InvalidParameter, "Give each query parameter once, as plain text.", new FieldError(name, "invalid"));
                    return;
                }
            }
        }

        await next(http);
    }
}

/// <summary>Marks the endpoints of the public API.</summary>
internal sealed record ScopeMetadata(string Scope);

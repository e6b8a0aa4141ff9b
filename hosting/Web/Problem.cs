using System.Text.Json.Serialization;
using Crm.Contracts;
using Microsoft.AspNetCore.Http;

namespace Crm.Hosting.Web;

/// <summary>What is wrong with one field.</summary>
/// <param name="Pointer">JSON Pointer (RFC 6901) into the body, or the name of the query parameter or header.</param>
/// <param name="Code">Stable machine word, such as <c>required</c> or <c>too_long</c>.</param>
public sealed record FieldError(string Pointer, string Code, string? Detail = null);

/// <summary>An RFC 9457 problem with the platform's members.</summary>
public sealed record Problem(
    string Type,
    string Title,
    int Status,
    string Code,
    string? Detail,
    string? Instance,
    IReadOnlyList<FieldError> Errors,
    string? TraceId,
    bool Retryable)
{
    /// <summary>Further members, such as the candidates of <c>duplicate_suspected</c>.</summary>
    [JsonExtensionData]
    public IDictionary<string, object?>? Extensions { get; init; }
}

/// <summary>Ends the request with a problem; over gRPC with the matching status. Nothing is changed.</summary>
public sealed class ProblemException(ProblemCode code, string detail, params IReadOnlyList<FieldError> errors) : Exception(detail)
{
    public ProblemCode Code { get; } = code;
    public IReadOnlyList<FieldError> Errors { get; } = errors;

    /// <summary>Further members of the problem body.</summary>
    public IDictionary<string, object?>? Extensions { get; init; }

    /// <summary>Seconds; answered as <c>Retry-After</c>.</summary>
    public int? RetryAfter { get; init; }

    /// <summary>Where the resource is now; answered as <c>Location</c>.</summary>
    public string? Location { get; init; }

    /// <summary>The tag of the version that is current; answered as <c>ETag</c>.</summary>
    public string? ETag { get; init; }

    /// <summary>308: the id of the path belongs to another resource now, at the same path with <paramref name="id"/> in its place.</summary>
    public static ProblemException Moved(ProblemCode code, string detail, HttpRequest request, string old, string id) => new(code, detail)
    {
        Location = $"{request.Path.Value!.Replace(old, id, StringComparison.Ordinal)}{request.QueryString}",
    };

    public static ProblemException NotFound(string what) => new(ProblemCodes.NotFound, $"There is no such {what}.");

    public static ProblemException Invalid(params IReadOnlyList<FieldError> errors) =>
        new(ProblemCodes.ValidationFailed, "Some fields are not valid; see errors.", errors);

    public static ProblemException InvalidParameter(string name, string detail) =>
        new(ProblemCodes.InvalidParameter, detail, new FieldError(name, "invalid", detail));
}

/// <summary>A rule of the domain forbids it in the record's present state: 409.</summary>
public sealed class RuleViolationException(string detail) : Exception(detail);

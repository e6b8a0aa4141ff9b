using System.Diagnostics;
using System.Text.Json;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Http;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Crm.Hosting.Web;

/// <summary>Every error answer of the platform is written here, whoever noticed the error.</summary>
public static class Problems
{
    public static readonly JsonSerializerOptions Json = FieldRules.ForCaller(new(JsonDefaults.Options)
    {
        DefaultIgnoreCondition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull,
    });

    public static Problem Create(HttpContext http, ProblemCode code, string? detail = null, IReadOnlyList<FieldError>? errors = null, IDictionary<string, object?>? extensions = null) => new(
        $"/problems/{code.Code}",
        code.Title,
        code.Status,
        code.Code,
        detail,
        http.Request.Path,
        errors ?? [],
        Activity.Current?.TraceId.ToHexString(),
        code.Retryable)
    {
        Extensions = extensions,
    };

    public static async Task WriteAsync(HttpContext http, Problem problem)
    {
        http.Response.StatusCode = problem.Status;
        await http.Response.WriteAsJsonAsync(problem, Json, "application/problem+json", CancellationToken.None);
    }

    public static Task WriteAsync(HttpContext http, ProblemCode code, string? detail = null, params IReadOnlyList<FieldError> errors) =>
        WriteAsync(http, Create(http, code, detail, errors));

    /// <summary>What an exception means to the caller. Unknown ones tell nothing but the trace id.</summary>
    public static ProblemException Describe(Exception exception) => exception switch
    {
        ProblemException problem => problem,
        RuleViolationException rule => new(ProblemCodes.Conflict, rule.Message),
        BadHttpRequestException bad => DescribeBadRequest(bad),
        // What the framework says of a form that is none, or has too many fields.
        InvalidDataException => new(ProblemCodes.BadRequest, "The body could not be read as what its Content-Type says."),
        // Somebody else's record that the caller's rows do not show; only the database knows that its key is taken.
        DbUpdateException { InnerException: PostgresException { SqlState: PostgresErrorCodes.UniqueViolation, ConstraintName: { } key } }
            when !CallerRights.Current.AllCustomers && key.Contains("external_id", StringComparison.Ordinal) =>
            new(ProblemCodes.AlreadyExists, "The external id is taken."),
        DbUpdateConcurrencyException => new(ProblemCodes.ConcurrentChange, "The record was changed by somebody else; read it again."),
        _ when Messaging.Transient.Is(exception) => new(ProblemCodes.Unavailable, "A part of the platform cannot be reached; try again.") { RetryAfter = 1 },
        _ => new(ProblemCodes.InternalError, "The error is in our log under the trace id."),
    };

    private static ProblemException DescribeBadRequest(BadHttpRequestException exception)
    {
        if (exception.InnerException is JsonException json)
        {
            return DescribeJson(json);
        }

        return exception.StatusCode switch
        {
            StatusCodes.Status413PayloadTooLarge => new(ProblemCodes.BodyTooLarge, "The body is larger than this endpoint accepts."),
            StatusCodes.Status415UnsupportedMediaType => new(ProblemCodes.UnsupportedMediaType, "Send the body as application/json."),
            // The framework's own words are about our code.
            StatusCodes.Status400BadRequest when exception.Message.Contains("no body was provided", StringComparison.Ordinal)
                || exception.Message.Contains("was not provided from body", StringComparison.Ordinal) =>
                new(ProblemCodes.BadRequest, "The body is missing; send a JSON object.", new FieldError("", "required", "A JSON object.")),
            StatusCodes.Status400BadRequest => new(ProblemCodes.BadRequest, Printable(exception.Message)),
            var status => new(ProblemCodes.OfStatus(status), "The request could not be read."),
        };
    }

    /// <summary>The reader's complaint with the place where it stopped.</summary>
    public static ProblemException DescribeJson(JsonException exception)
    {
        if (exception is FieldForbiddenException)
        {
            return FieldRules.Forbidden(new FieldError(JsonPaths.ToPointer(exception.Path), ProblemCodes.FieldForbidden.Code));
        }

        if (exception.Message.Contains("missing required properties", StringComparison.Ordinal))
        {
            // … was missing required properties including: 'a', 'b'.
            var names = exception.Message[(exception.Message.LastIndexOf(':') + 1)..].Split('\'').Where((_, i) => i % 2 == 1);
            return ProblemException.Invalid([.. names.Select(n => new FieldError($"{JsonPaths.ToPointer(exception.Path)}/{n}", "required", "This field is required."))]);
        }

        if (exception.Path is null or "$" && exception.LineNumber is null)
        {
            return new(ProblemCodes.MalformedJson, "The body is not valid JSON.", new FieldError("", "malformed_json"));
        }

        var pointer = JsonPaths.ToPointer(exception.Path);
        var (code, detail) = exception.Message switch
        {
            var m when m.Contains("could not be mapped", StringComparison.Ordinal) => ("unknown_field", "This field is not known here."),
            var m when m.Contains("Duplicate property", StringComparison.Ordinal) => ("duplicate_field", "This field is there twice."),
            var m when m.Contains("could not be converted", StringComparison.Ordinal) => ("wrong_type", "The value has the wrong type."),
            var m when m.Contains("maximum configured depth", StringComparison.Ordinal) => ("too_deep", "The body is nested too deeply."),
            var m when m.StartsWith(JsonDefaults.BadText, StringComparison.Ordinal) => ("bad_text", "The text has a character that cannot be stored."),
            _ => ("malformed_json", "The body is not valid JSON here."),
        };
        return code == "malformed_json"
            ? new(ProblemCodes.MalformedJson, $"The body is not valid JSON at line {exception.LineNumber + 1}.", new FieldError(pointer, code, detail))
            : new(ProblemCodes.ValidationFailed, "Some fields are not valid; see errors.", new FieldError(pointer, code, detail));
    }

    private static string Printable(string text) => text.Length <= 200 ? text : text[..200];
}

/// <summary>Exceptions that leave an endpoint.</summary>
internal sealed partial class ProblemExceptionHandler(ILogger<ProblemExceptionHandler> logger) : IExceptionHandler
{
    /// <summary>The exception middleware clears the header when the answer starts; this one is set after it.</summary>
    public const string ETagItem = "crm-etag";

    public async ValueTask<bool> TryHandleAsync(HttpContext httpContext, Exception exception, CancellationToken cancellationToken)
    {
        if (httpContext.RequestAborted.IsCancellationRequested && exception is OperationCanceledException or IOException or Grpc.Core.RpcException { StatusCode: Grpc.Core.StatusCode.Cancelled })
        {
            httpContext.Response.StatusCode = StatusCodes.Status499ClientClosedRequest;
            return true;
        }

        var described = Problems.Describe(exception);
        if (described.Code.Status >= 500)
        {
            LogFailed(exception, httpContext.Request.Method, httpContext.Features.Get<IExceptionHandlerFeature>()?.Endpoint?.DisplayName ?? "?", described.Code.Code);
        }

        if (described.RetryAfter is { } seconds)
        {
            httpContext.Response.Headers.RetryAfter = seconds.ToString(System.Globalization.CultureInfo.InvariantCulture);
        }

        if (described.Location is { } location)
        {
            httpContext.Response.Headers.Location = location;
        }

        if (described.ETag is { } etag)
        {
            httpContext.Items[ETagItem] = etag;
        }

        await Problems.WriteAsync(httpContext, Problems.Create(httpContext, described.Code, described.Message, described.Errors, described.Extensions));
        return true;
    }

    [LoggerMessage(LogLevel.Error, "{Method} {Endpoint} failed with {Code}")]
    private partial void LogFailed(Exception exception, string method, string endpoint, string code);
}

/// <summary>Problems that the framework wants to write, validation's above all.</summary>
internal sealed class ProblemWriter : IProblemDetailsWriter
{
    public bool CanWrite(ProblemDetailsContext context) => true;

    public async ValueTask WriteAsync(ProblemDetailsContext context)
    {
        var http = context.HttpContext;
        if (context.ProblemDetails is HttpValidationProblemDetails validation)
        {
            await Problems.WriteAsync(http, ProblemCodes.ValidationFailed, "Some fields are not valid; see errors.",
                [.. validation.Errors.SelectMany(e => e.Value.Select(message => Validation.ToFieldError(e.Key, message)))]);
            return;
        }

        await Problems.WriteAsync(http, ProblemCodes.OfStatus(http.Response.StatusCode));
    }
}

using System.Diagnostics;
using System.Globalization;
using System.IO.Compression;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Grpc.AspNetCore.Server;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Crm.Hosting.Rpc;

public static class GrpcServer
{
    /// <summary>Largest message, in bytes, after decompression.</summary>
    public const int MessageLimit = 4 * 1024 * 1024;

    /// <summary>gRPC as every service serves it: errors as statuses, messages up to 4 MB, gzip for those who take it.</summary>
    public static void AddCrmGrpc(this IServiceCollection services) => services.AddGrpc(grpc =>
    {
        grpc.Interceptors.Add<GrpcErrors>();
        grpc.Interceptors.Add<GrpcFieldRules>();
        // Its catch-all route would turn a wrong content type of POST /v1/… into a 404; HandleAsync answers instead.
        grpc.IgnoreUnknownServices = true;
        grpc.MaxReceiveMessageSize = MessageLimit;
        grpc.ResponseCompressionAlgorithm = "gzip";
        grpc.ResponseCompressionLevel = CompressionLevel.Fastest;
    });

    public static bool IsGrpc(this HttpContext http) =>
        HttpProtocol.IsHttp2(http.Request.Protocol) && http.Request.ContentType?.StartsWith("application/grpc", StringComparison.OrdinalIgnoreCase) is true;

    /// <summary>After routing: what the gRPC server leaves to its surroundings.</summary>
    internal static async Task HandleAsync(HttpContext http, RequestDelegate next)
    {
        if (http.IsGrpc() && http.GetEndpoint() is not RouteEndpoint)
        {
            Refuse(http, StatusCode.Unimplemented, "There is no such method.", null);
            return;
        }

        if (!http.IsGrpcMethod())
        {
            await next(http);
            return;
        }

        // The limit of a JSON body would cut off messages that MessageLimit allows.
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = null;
        }

        var clock = http.RequestServices.GetRequiredService<TimeProvider>();
        var start = clock.GetTimestamp();
        await next(http);

        // No interceptor sees a message that cannot be parsed; the server calls it UNKNOWN, as nothing else here is.
        if (!http.Response.HasStarted && http.Response.Headers[StatusTrailer] == "2" && http.Response.Headers[MessageTrailer] == "Exception was thrown by handler.")
        {
            Write(http, StatusCode.InvalidArgument, "The message cannot be read.", ProblemCodes.BadRequest);
        }

        // Kestrel's own metrics know every answer of gRPC as 200.
        Duration.Record(
            clock.GetElapsedTime(start).TotalSeconds,
            new("rpc.system.name", "grpc"),
            new("rpc.method", http.GetEndpoint()!.Metadata.GetMetadata<GrpcMethodMetadata>()!.Method.FullName.TrimStart('/')),
            new("rpc.response.status_code", StatusOf(http)));
    }

    private static string StatusOf(HttpContext http)
    {
        var sent = http.Features.Get<IHttpResponseTrailersFeature>()?.Trailers[StatusTrailer].ToString() is { Length: > 0 } trailer
            ? trailer
            : http.Response.Headers[StatusTrailer].ToString();
        return int.TryParse(sent, CultureInfo.InvariantCulture, out var status) ? ((StatusCode)status).ToString() : nameof(StatusCode.Cancelled);
    }

    /// <summary>A denial as the protocol has it.</summary>
    internal static void Deny(HttpContext http, bool authenticated, string? scope)
    {
        if (!authenticated)
        {
            Refuse(http, StatusCode.Unauthenticated, "Send a valid token as authorization: Bearer ….", ProblemCodes.Unauthenticated);
        }
        else if (scope is null)
        {
            Refuse(http, StatusCode.PermissionDenied, "This caller may not call it.", ProblemCodes.Forbidden);
        }
        else
        {
            Refuse(http, StatusCode.PermissionDenied, $"This needs the scope {scope}.", ProblemCodes.InsufficientScope);
        }
    }

    private static readonly System.Diagnostics.Metrics.Histogram<double> Duration =
        Telemetry.Meter.CreateHistogram<double>("rpc.server.call.duration", "s", "Duration of an RPC as the server sees it", tags: null, Telemetry.Durations);

    private const string StatusTrailer = "grpc-status";
    private const string MessageTrailer = "grpc-message";

    private static bool IsGrpcMethod(this HttpContext http) => http.GetEndpoint()?.Metadata.GetMetadata<GrpcMethodMetadata>() is not null;

    private static void Refuse(HttpContext http, StatusCode status, string message, ProblemCode? code)
    {
        http.Response.StatusCode = StatusCodes.Status200OK;
        http.Response.ContentType = "application/grpc";
        Write(http, status, message, code);
    }

    /// <summary>An answer without messages: its trailers are its headers.</summary>
    private static void Write(HttpContext http, StatusCode status, string message, ProblemCode? code)
    {
        http.Response.Headers[StatusTrailer] = ((int)status).ToString(CultureInfo.InvariantCulture);
        http.Response.Headers[MessageTrailer] = Uri.EscapeDataString(message);
        if (code is not null)
        {
            http.Response.Headers["crm-code"] = code.Code;
        }
    }
}

/// <summary>
/// Exceptions as gRPC statuses. The trailers <c>crm-code</c> and <c>crm-trace-id</c> carry what the
/// problem body carries over HTTP.
/// </summary>
internal sealed partial class GrpcErrors(TimeProvider clock, ILogger<GrpcErrors> logger) : Interceptor
{
    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            return await continuation(request, context);
        }
        catch (Exception exception) when (exception is not RpcException)
        {
            throw Translate(exception, context);
        }
    }

    public override async Task ServerStreamingServerHandler<TRequest, TResponse>(TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context, ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            await continuation(request, responseStream, context);
        }
        catch (Exception exception) when (exception is not RpcException)
        {
            throw Translate(exception, context);
        }
    }

    private RpcException Translate(Exception exception, ServerCallContext context)
    {
        if (exception is OperationCanceledException && context.CancellationToken.IsCancellationRequested)
        {
            return new RpcException(new Status(context.Deadline < clock.GetUtcNow().UtcDateTime ? StatusCode.DeadlineExceeded : StatusCode.Cancelled, "The call was given up."));
        }

        var described = Problems.Describe(exception);
        if (described.Code.Status >= 500)
        {
            LogFailed(exception, context.Method, described.Code.Code);
        }

        var trailers = new Metadata { { "crm-code", described.Code.Code } };
        if (Activity.Current is { } activity)
        {
            trailers.Add("crm-trace-id", activity.TraceId.ToHexString());
        }

        return new RpcException(new Status(StatusOf(described.Code), described.Message), trailers);
    }

    private static StatusCode StatusOf(ProblemCode code) => code.Status switch
    {
        400 or 422 => StatusCode.InvalidArgument,
        401 => StatusCode.Unauthenticated,
        403 => StatusCode.PermissionDenied,
        404 or 410 => StatusCode.NotFound,
        409 when code == ProblemCodes.AlreadyExists => StatusCode.AlreadyExists,
        409 when code == ProblemCodes.ConcurrentChange => StatusCode.Aborted,
        409 or 412 or 428 => StatusCode.FailedPrecondition,
        413 or 429 => StatusCode.ResourceExhausted,
        503 => StatusCode.Unavailable,
        504 => StatusCode.DeadlineExceeded,
        _ => StatusCode.Internal,
    };

    [LoggerMessage(LogLevel.Error, "{Method} failed with {Code}")]
    private partial void LogFailed(Exception exception, string method, string code);
}

using System.Diagnostics;
using Crm.Contracts;
using Crm.Hosting.Web;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Microsoft.Extensions.Logging;

namespace Crm.Hosting.Rpc;

/// <summary>
/// Exceptions as gRPC statuses. The trailers <c>crm-code</c> and <c>crm-trace-id</c> carry what the
/// problem body carries over HTTP.
/// </summary>
internal sealed partial class GrpcErrors(ILogger<GrpcErrors> logger) : Interceptor
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
            return new RpcException(new Status(context.Deadline < DateTime.UtcNow ? StatusCode.DeadlineExceeded : StatusCode.Cancelled, "The call was given up."));
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

using Grpc.AspNetCore.ClientFactory;
using Grpc.AspNetCore.Server;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Grpc.Net.ClientFactory;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace Grpc.AspNetCore.ClientFactory
{
    public class GrpcContextPropagationOptions
    {
        /// <summary>Whether a client may be used outside of a gRPC call (for example in an HTTP request); false makes that an error.</summary>
        public bool SuppressContextNotFoundErrors { get; set; }
    }

    /// <summary>Gives the deadline and the cancellation of the call that is being served to the calls made for it.</summary>
    internal sealed class ContextPropagationInterceptor(GrpcContextPropagationOptions options, IHttpContextAccessor accessor) : Interceptor
    {
        public override TResponse BlockingUnaryCall<TRequest, TResponse>(
            TRequest request,
            ClientInterceptorContext<TRequest, TResponse> context,
            BlockingUnaryCallContinuation<TRequest, TResponse> continuation)
        {
            using var linked = Link(ref context);
            return continuation(request, context);
        }

        public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
            TRequest request,
            ClientInterceptorContext<TRequest, TResponse> context,
            AsyncUnaryCallContinuation<TRequest, TResponse> continuation)
        {
            var linked = Link(ref context);
            var call = continuation(request, context);
            return linked is null ? call : new(
                Until(call.ResponseAsync, linked), _ => call.ResponseHeadersAsync, _ => call.GetStatus(), _ => call.GetTrailers(), End(call, linked), call);
        }

        public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(
            TRequest request,
            ClientInterceptorContext<TRequest, TResponse> context,
            AsyncServerStreamingCallContinuation<TRequest, TResponse> continuation)
        {
            var linked = Link(ref context);
            var call = continuation(request, context);
            return linked is null ? call : new(
                call.ResponseStream, _ => call.ResponseHeadersAsync, _ => call.GetStatus(), _ => call.GetTrailers(), End(call, linked), call);
        }

        public override AsyncClientStreamingCall<TRequest, TResponse> AsyncClientStreamingCall<TRequest, TResponse>(
            ClientInterceptorContext<TRequest, TResponse> context,
            AsyncClientStreamingCallContinuation<TRequest, TResponse> continuation)
        {
            var linked = Link(ref context);
            var call = continuation(context);
            return linked is null ? call : new(
                call.RequestStream, Until(call.ResponseAsync, linked), _ => call.ResponseHeadersAsync, _ => call.GetStatus(), _ => call.GetTrailers(),
                End(call, linked), call);
        }

        public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(
            ClientInterceptorContext<TRequest, TResponse> context,
            AsyncDuplexStreamingCallContinuation<TRequest, TResponse> continuation)
        {
            var linked = Link(ref context);
            var call = continuation(context);
            return linked is null ? call : new(
                call.RequestStream, call.ResponseStream, _ => call.ResponseHeadersAsync, _ => call.GetStatus(), _ => call.GetTrailers(),
                End(call, linked), call);
        }

        private static async Task<TResponse> Until<TResponse>(Task<TResponse> response, CancellationTokenSource linked)
        {
            using (linked)
            {
                return await response.ConfigureAwait(false);
            }
        }

        private static Action<object> End(IDisposable call, CancellationTokenSource linked) => _ =>
        {
            call.Dispose();
            linked.Dispose();
        };

        /// <summary>The source to be disposed at the end of the call, when both sides can cancel.</summary>
        private CancellationTokenSource? Link<TRequest, TResponse>(ref ClientInterceptorContext<TRequest, TResponse> context)
            where TRequest : class
            where TResponse : class
        {
            if (accessor.HttpContext?.Features.Get<IServerCallContextFeature>()?.ServerCallContext is not { } serving)
            {
                return options.SuppressContextNotFoundErrors
                    ? null
                    : throw new InvalidOperationException("Unable to propagate server context values to the call. Can't find the gRPC ServerCallContext.");
            }

            CancellationTokenSource? linked = null;
            var call = context.Options;
            if (serving.CancellationToken.CanBeCanceled)
            {
                if (call.CancellationToken.CanBeCanceled)
                {
                    linked = CancellationTokenSource.CreateLinkedTokenSource(serving.CancellationToken, call.CancellationToken);
                }

                call = call.WithCancellationToken(linked?.Token ?? serving.CancellationToken);
            }

            if (serving.Deadline < (call.Deadline ?? DateTime.MaxValue))
            {
                call = call.WithDeadline(serving.Deadline);
            }

            context = new(context.Method, context.Host, call);
            return linked;
        }
    }
}

namespace Microsoft.Extensions.DependencyInjection
{
    public static class GrpcServerHttpClientBuilderExtensions
    {
        public static IHttpClientBuilder EnableCallContextPropagation(this IHttpClientBuilder builder) =>
            builder.EnableCallContextPropagation(_ => { });

        public static IHttpClientBuilder EnableCallContextPropagation(
            this IHttpClientBuilder builder, Action<GrpcContextPropagationOptions> configureOptions)
        {
            ArgumentNullException.ThrowIfNull(builder);
            ArgumentNullException.ThrowIfNull(configureOptions);
            builder.Services.AddHttpContextAccessor();
            builder.Services.Configure(builder.Name, configureOptions);
            return builder.AddInterceptor(InterceptorScope.Channel, services => new ContextPropagationInterceptor(
                services.GetRequiredService<IOptionsMonitor<GrpcContextPropagationOptions>>().Get(builder.Name),
                services.GetRequiredService<IHttpContextAccessor>()));
        }
    }
}

using System.Collections.Concurrent;
using Crm.Conformance.V1;
using Crm.Hosting.Auth;
using Grpc.Core;

namespace Crm.Conformance;

/// <summary>What the server saw of the calls that waited, by their id.</summary>
internal sealed class Observations
{
    private readonly ConcurrentDictionary<string, string> _states = new(StringComparer.Ordinal);

    public string this[string id]
    {
        get => _states.GetValueOrDefault(id, "unknown");
        set => _states[id] = value;
    }
}

internal sealed class ConformanceService(Observations observations, TimeProvider clock) : V1.Conformance.ConformanceBase
{
    [Callers("probe")]
    public override async Task<EchoReply> Echo(EchoRequest request, ServerCallContext context)
    {
        var headers = new Metadata();
        foreach (var entry in context.RequestHeaders.Where(e => e.Key.StartsWith("x-", StringComparison.Ordinal)))
        {
            if (entry.IsBinary)
            {
                headers.Add("echo-" + entry.Key, entry.ValueBytes);
                context.ResponseTrailers.Add("trailing-" + entry.Key, entry.ValueBytes);
            }
            else
            {
                headers.Add("echo-" + entry.Key, entry.Value);
                context.ResponseTrailers.Add("trailing-" + entry.Key, entry.Value);
            }
        }

        await context.WriteResponseHeadersAsync(headers);
        return Reply(request, context);
    }

    [Callers("probe")]
    public override async Task Count(CountRequest request, IServerStreamWriter<CountReply> responseStream, ServerCallContext context)
    {
        for (var value = 1; value <= request.To; value++)
        {
            await responseStream.WriteAsync(new CountReply { Value = value }, context.CancellationToken);
        }

        context.ResponseTrailers.Add("counted", request.To.ToString(System.Globalization.CultureInfo.InvariantCulture));
    }

    [Callers("probe")]
    public override async Task<CountReply> Sum(IAsyncStreamReader<CountReply> requestStream, ServerCallContext context)
    {
        var sum = 0;
        await foreach (var item in requestStream.ReadAllAsync(context.CancellationToken))
        {
            sum += item.Value;
        }

        return new CountReply { Value = sum };
    }

    [Callers("probe")]
    public override async Task Chat(IAsyncStreamReader<EchoRequest> requestStream, IServerStreamWriter<EchoReply> responseStream, ServerCallContext context)
    {
        await foreach (var request in requestStream.ReadAllAsync(context.CancellationToken))
        {
            await responseStream.WriteAsync(new EchoReply { Text = request.Text }, context.CancellationToken);
        }
    }

    [Callers("probe")]
    public override async Task<EchoReply> Wait(WaitRequest request, ServerCallContext context)
    {
        await WaitForEndAsync(request, context);
        return new EchoReply();
    }

    [Callers("probe")]
    public override async Task WaitStreaming(WaitRequest request, IServerStreamWriter<CountReply> responseStream, ServerCallContext context)
    {
        await responseStream.WriteAsync(new CountReply { Value = 1 }, context.CancellationToken);
        await WaitForEndAsync(request, context);
    }

    [Callers("probe")]
    public override Task<ObservedReply> Observed(WaitRequest request, ServerCallContext context) =>
        Task.FromResult(new ObservedReply { State = observations[request.Id] });

    [Callers("probe")]
    public override Task<EchoReply> Fail(FailRequest request, ServerCallContext context) => throw Failure(request);

    [Callers("probe")]
    public override async Task FailStreaming(FailRequest request, IServerStreamWriter<CountReply> responseStream, ServerCallContext context)
    {
        for (var value = 1; value <= request.After; value++)
        {
            await responseStream.WriteAsync(new CountReply { Value = value }, context.CancellationToken);
        }

        throw Failure(request);
    }

    private static Exception Failure(FailRequest request) => request.ByException
        ? new InvalidOperationException(request.Detail)
        : new RpcException(
            new Status((StatusCode)request.Code, request.Detail),
            new Metadata { { "reason", "asked-for" }, { "reason-bin", [0, 1, 254, 255] } });

    private EchoReply Reply(EchoRequest request, ServerCallContext context) => new()
    {
        Text = request.Text,
        Payload = request.Payload,
        RequestEncoding = context.GetHttpContext().Request.Headers["grpc-encoding"].ToString(),
        DeadlineInMs = context.Deadline == DateTime.MaxValue ? 0 : (long)(context.Deadline - clock.GetUtcNow().UtcDateTime).TotalMilliseconds,
    };

    private async Task WaitForEndAsync(WaitRequest request, ServerCallContext context)
    {
        observations[request.Id] = "started";
        try
        {
            await Task.Delay(TimeSpan.FromSeconds(30), context.CancellationToken);
        }
        catch (OperationCanceledException)
        {
            observations[request.Id] = context.Deadline <= clock.GetUtcNow().UtcDateTime.AddMilliseconds(5) ? "deadline" : "cancelled";
            throw;
        }
    }
}

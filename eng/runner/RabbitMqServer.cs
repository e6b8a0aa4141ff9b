using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Crm.Runner;

public sealed record RabbitMqOptions
{
    public required string Folder { get; init; }

    /// <summary>0 takes a free one.</summary>
    public int Port { get; init; }

    public required string LogFile { get; init; }

    public required string Password { get; init; }

    /// <summary>Of what Prometheus reads, for a broker whose metrics somebody wants: counting costs it time.</summary>
    public int? MetricsPort { get; init; }

    public bool EndWithCaller { get; init; }

    /// <summary>Whose processes they are: marked in their environment, and recorded as soon as they are started.</summary>
    public Installation? Installation { get; init; }
}

/// <summary>A RabbitMQ node of one's own on loopback, whatever it runs as: one virtual host "crm" with one user, no guest.</summary>
public abstract class RabbitMqServer : OwnServer
{
    protected const string VirtualHost = "crm", User = "crm";

    protected RabbitMqServer(RabbitMqOptions options) => Options = options.Port == 0 ? options with { Port = FreePort.Next() } : options;

    public int Port => Options.Port;

    public string Uri => $"amqp://{User}:{Options.Password}@127.0.0.1:{Options.Port}/{VirtualHost}";

    /// <summary>Where Prometheus would read; null where nobody asked for it, or this kind of server has it not.</summary>
    public virtual Uri? Metrics => null;

    protected RabbitMqOptions Options { get; }

    public override Task<bool> StopAsync() => Process.StopAsync(TimeSpan.FromSeconds(30));

    /// <summary>rabbitmqctl against this node, e.g. "list_queues", "name", "messages".</summary>
    /// <exception cref="InvalidOperationException">It ended with an error.</exception>
    public abstract Task<string> ControlAsync(IReadOnlyList<string> arguments, CancellationToken ct = default);

    /// <summary>Users, rights, queues … of a file on this machine.</summary>
    public abstract Task ImportDefinitionsAsync(string file, CancellationToken ct = default);

    /// <summary>Messages in each queue, those that a consumer has and has not acknowledged included; null where the queue does not say.</summary>
    public async Task<IReadOnlyDictionary<string, long?>> QueueDepthsAsync(CancellationToken ct = default) =>
        (await ControlAsync(["list_queues", "-p", VirtualHost, "--no-table-headers", "name", "messages"], ct))
        .Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(l => l.Split('\t'))
        .ToDictionary(l => l[0], l => l is [_, var messages] && long.TryParse(messages, CultureInfo.InvariantCulture, out var count) ? count : (long?)null);

    /// <summary>Cuts all client connections from the broker's side.</summary>
    public Task CloseConnectionsAsync(CancellationToken ct = default) => ControlAsync(["close_all_connections", "fault injected"], ct);

    protected internal override async Task WaitUntilAnsweringAsync(CancellationToken ct)
    {
        var start = Stopwatch.GetTimestamp();
        while (!await AnswersAsync(ct))
        {
            if (!await Process.IsAliveAsync())
                throw new RunnerException($"RabbitMQ ended while starting:\n{OwnedProcess.TailOf(Options.LogFile, 15)}", $"The whole log is {Options.LogFile}.");
            if (Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(120))
                throw new RunnerException($"RabbitMQ does not answer on port {Options.Port} after 120 s.", $"The log is {Options.LogFile}.");
            await Task.Delay(100, ct);
        }
    }

    /// <summary>Whether the port greets as AMQP 0-9-1 does: a method frame on channel 0, connection.start.</summary>
    private async Task<bool> AnswersAsync(CancellationToken ct)
    {
        try
        {
            using var client = new TcpClient();
            await client.ConnectAsync(IPAddress.Loopback, Options.Port, ct);
            var stream = client.GetStream();
            await stream.WriteAsync("AMQP\0\0\u0009\u0001"u8.ToArray(), ct);
            var header = new byte[1];
            return await stream.ReadAsync(header, ct) == 1 && header[0] == 1;
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            return false;
        }
    }
}

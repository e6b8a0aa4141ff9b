using System.Diagnostics;
using System.Net;
using System.Text.Json;

namespace Crm.Runner;

/// <summary>One service of the platform as a real process, to be killed and started again on the same ports.</summary>
public sealed class ServiceProcess
{
    private static readonly HttpClient Http = new(new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false }) { Timeout = TimeSpan.FromSeconds(5) };

    private readonly ProcessSpec _spec;

    internal ServiceProcess(ProcessSpec spec, Uri httpAddress, Uri? grpcAddress)
    {
        _spec = spec;
        HttpAddress = httpAddress;
        GrpcAddress = grpcAddress;
    }

    public string Name => _spec.Name;

    public Uri HttpAddress { get; }

    public Uri? GrpcAddress { get; }

    /// <summary>The environment that the process gets on top of this one's.</summary>
    public IReadOnlyDictionary<string, string?> Environment => _spec.Environment;

    public string LogFile => _spec.LogFile;

    /// <summary>Null before the first start.</summary>
    public OwnedProcess? Process { get; private set; }

    public bool IsRunning => Process is { IsAlive: true };

    /// <summary>Starts the process without waiting; nothing happens when it runs.</summary>
    public void Start()
    {
        if (!IsRunning)
            Process = OwnedProcess.Start(_spec);
    }

    /// <summary>Starts the process when it is not running, and waits until it is ready.</summary>
    public async Task StartAsync(TimeSpan? limit = null, CancellationToken ct = default)
    {
        Start();
        await WaitUntilReadyAsync(limit, ct);
    }

    /// <summary>Waits for 200 from /health/ready; fails at once when the process ends.</summary>
    public async Task WaitUntilReadyAsync(TimeSpan? limit = null, CancellationToken ct = default)
    {
        var longest = limit ?? TimeSpan.FromSeconds(120);
        var start = Stopwatch.GetTimestamp();
        var answer = "no answer";
        while (true)
        {
            var (ready, now) = await ProbeAsync(ct);
            if (ready)
                return;
            answer = now;
            if (!IsRunning)
                throw new RunnerException($"{Name} ended while starting:\n{Process?.LogTail()}", $"The whole log is {LogFile}.");
            if (Stopwatch.GetElapsedTime(start) > longest)
                throw new RunnerException($"{Name} is not ready after {longest.TotalSeconds:0} s ({HttpAddress}health/ready: {answer}).\n{Process?.LogTail()}", $"The whole log is {LogFile}.");
            await Task.Delay(100, ct);
        }
    }

    /// <summary>What the log says of the first request that failed as none should, with its exception; empty when there is none.</summary>
    public string FirstFailure()
    {
        var line = (Process?.LogTail(int.MaxValue) ?? "").Split('\n').FirstOrDefault(l => l.Contains("failed with internal_error", StringComparison.Ordinal));
        if (line is null)
            return "";
        var text = $"{Name}: {Unfold(line)}";
        return text[..Math.Min(text.Length, 4000)];
    }

    /// <summary>A log line's message and exception, its lines as lines.</summary>
    private static string Unfold(string line)
    {
        try
        {
            var record = JsonElement.Parse(line);
            return $"{record.GetProperty("message").GetString()}\n{(record.TryGetProperty("exception", out var exception) ? exception.GetString() : "")}";
        }
        catch (JsonException)
        {
            // Written to be read, or cut off by kill -9.
            return line;
        }
    }

    public async Task<(bool Ready, string Answer)> ProbeAsync(CancellationToken ct = default)
    {
        try
        {
            using var response = await Http.GetAsync(new Uri(HttpAddress, "health/ready"), ct);
            return (response.StatusCode == HttpStatusCode.OK, ((int)response.StatusCode).ToString(System.Globalization.CultureInfo.InvariantCulture));
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException && !ct.IsCancellationRequested)
        {
            return (false, e.Message);
        }
    }

    /// <summary>kill -9.</summary>
    public Task KillAsync() => Process?.KillAsync() ?? Task.CompletedTask;

    /// <summary>SIGTERM, and SIGKILL after the grace.</summary>
    /// <returns>Whether the process ended by itself in time.</returns>
    public Task<bool> StopAsync(TimeSpan? grace = null) => Process?.StopAsync(grace ?? TimeSpan.FromSeconds(35)) ?? Task.FromResult(true);

    /// <summary>Runs a mode of the executable ("--migrate", "--dead-letters", …) with this service's configuration.</summary>
    public Task<ShellResult> RunModeAsync(IReadOnlyList<string> arguments, CancellationToken ct = default) =>
        // Its answer is on the console, where logs of a start would stand between the lines.
        Shell.RunAsync([.. _spec.Command, .. arguments], new Dictionary<string, string?>(_spec.Environment) { ["Logging__LogLevel__Default"] = "Warning" }, _spec.WorkingFolder, ct);

    internal void TakeOver(OwnedProcess process) => Process = process;

    internal IReadOnlyList<string> Command => _spec.Command;
}

using System.Diagnostics;
using System.Net;
using Crm.Runner;
using Crm.Runner.Images;
using Docker.DotNet;
using Docker.DotNet.Models;
using DotNet.Testcontainers.Builders;
using DotNet.Testcontainers.Configurations;
using DotNet.Testcontainers.Containers;
using DotNet.Testcontainers.Images;
using Microsoft.Extensions.Logging.Abstractions;

namespace Crm.Testing.Containers;

/// <summary>
/// A server in a container on the host's network, so that it keeps its port when it is killed and started again. It is removed
/// by this process, or by the <see cref="Reaper"/> when this process is killed.
/// </summary>
internal sealed class ServerContainer : IServerProcess, IAsyncDisposable
{
    private readonly string _name = $"crm-test-{Guid.CreateVersion7():n}";
    private readonly DockerClient _engine;
    private readonly FileStream _log;
    private readonly IContainer _container;
    private readonly Action _watch;
    private bool _started;

    public ServerContainer(TestEngine engine, string image, string logFile, IReadOnlyDictionary<string, string> environment, params string[] command)
    {
        var endpoint = new DockerEndpointAuthenticationConfiguration(engine.Address);
        Directory.CreateDirectory(Path.GetDirectoryName(logFile)!);
        // Unbuffered: the log of a server that does not start is looked at.
        _log = new FileStream(logFile, FileMode.Append, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        _engine = endpoint.GetDockerClientBuilder(Guid.NewGuid()).Build();
        _watch = () => Reaper.WatchContainer(engine.Address.OriginalString, _name);
        _container = new ContainerBuilder(image)
            .WithDockerEndpoint(endpoint)
            .WithLogger(NullLogger.Instance)
            // Testcontainers' own would be one more image to pull, with the engine's socket in it.
            .WithCleanUp(false)
            .WithName(_name)
            .WithImagePullPolicy(PullPolicy.Missing)
            .WithEnvironment(environment)
            .WithCommand(command)
            .WithOutputConsumer(Consume.RedirectStdoutAndStderrToStream(_log, _log))
            .WithCreateParameterModifier(create =>
            {
                create.HostConfig ??= new HostConfig();
                create.HostConfig.NetworkMode = "host";
                // PostgreSQL's parallel workers share memory there; the default is 64 MB.
                create.HostConfig.ShmSize = 256L << 20;
            })
            .Build();
    }

    /// <summary>Again after it ended: with what it had written.</summary>
    public async Task StartAsync(CancellationToken ct)
    {
        // Testcontainers knows only of ends that it brought about.
        if (_started)
            await _container.StopAsync(ct);
        else
            _watch();
        _started = true;
        await _container.StartAsync(ct);
    }

    public async Task<bool> IsAliveAsync()
    {
        try
        {
            return (await _engine.Containers.InspectContainerAsync(_name)).State is { Running: true };
        }
        catch (DockerContainerNotFoundException)
        {
            return false;
        }
    }

    public async Task KillAsync()
    {
        await SignalAsync("KILL");
        await WaitForExitAsync(TimeSpan.FromSeconds(30));
    }

    public async Task<bool> StopAsync(TimeSpan grace, bool interrupt = false)
    {
        await SignalAsync(interrupt ? "INT" : "TERM");
        if (await WaitForExitAsync(grace))
            return true;
        await KillAsync();
        return false;
    }

    public Task FreezeAsync() => _container.PauseAsync();

    public Task ThawAsync() => _container.UnpauseAsync();

    public async Task<(long? ExitCode, string Output)> RunAsync(IReadOnlyList<string> command, CancellationToken ct)
    {
        var result = await _container.ExecAsync([.. command], ct);
        return (result.ExitCode, result.Stdout + result.Stderr);
    }

    public Task CopyAsync(byte[] content, string path, CancellationToken ct) => _container.CopyAsync(content, path, ct: ct);

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        await _container.DisposeAsync();
        try
        {
            // Only the reaper that it was told to leave out would do it.
            await _engine.Containers.RemoveContainerAsync(_name, new ContainerRemoveParameters { Force = true, RemoveVolumes = true });
        }
        catch (DockerContainerNotFoundException)
        {
            // It was never made.
        }

        await _log.DisposeAsync();
        _engine.Dispose();
    }

    private async Task SignalAsync(string signal)
    {
        try
        {
            await _engine.Containers.KillContainerAsync(_name, new ContainerKillParameters { Signal = signal });
        }
        catch (DockerApiException e) when (e.StatusCode is HttpStatusCode.Conflict or HttpStatusCode.NotFound)
        {
            // It has ended already, or never begun.
        }
    }

    private async Task<bool> WaitForExitAsync(TimeSpan limit)
    {
        var start = Stopwatch.GetTimestamp();
        while (await IsAliveAsync())
        {
            if (Stopwatch.GetElapsedTime(start) > limit)
                return false;
            await Task.Delay(20);
        }

        return true;
    }
}

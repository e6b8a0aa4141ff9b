using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Xunit.Sdk;

namespace Contracts.Tests.Grpc;

/// <summary>One run of the client against a conformance server of our own, in a process of its own.</summary>
public sealed class ConformanceRun : IAsyncLifetime
{
    private readonly StringBuilder _log = new();
    private IReadOnlyDictionary<string, JsonElement> _results = new Dictionary<string, JsonElement>();

    public string ServerLog
    {
        get
        {
            lock (_log)
            {
                return _log.ToString();
            }
        }
    }

    public async ValueTask InitializeAsync()
    {
        var (http, port) = (Crm.Runner.FreePort.Next(), Crm.Runner.FreePort.Next());
        var keys = Keys("conformance", "probe", "stranger");
        using var server = Process.Start(new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Crm.Conformance.dll")])
        {
            WorkingDirectory = AppContext.BaseDirectory,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment =
            {
                ["DOTNET_ENVIRONMENT"] = "Production",
                ["Ports__Address"] = "127.0.0.1",
                ["Ports__Http"] = http.ToString(CultureInfo.InvariantCulture),
                ["Ports__Grpc"] = port.ToString(CultureInfo.InvariantCulture),
                ["Auth__PrivateKey"] = await File.ReadAllTextAsync(Path.Combine(keys, "conformance.key")),
                ["Auth__TrustedKeys"] = keys,
                // No gateway here: a service does without its keys.
                ["Auth__GatewayJwks"] = $"http://127.0.0.1:{http}/none",
            },
        })!;
        try
        {
            server.OutputDataReceived += Keep;
            server.ErrorDataReceived += Keep;
            server.BeginOutputReadLine();
            server.BeginErrorReadLine();
            await ListeningAsync(server, port);
            _results = await NodeClient.RunAsync(
                "conformance.js", $"127.0.0.1:{port}", Path.Combine(Repository.Root, "tests", "Conformance", "protos"), keys);
        }
        finally
        {
            if (!server.HasExited)
            {
                server.Kill(entireProcessTree: true);
                await server.WaitForExitAsync();
            }

            Directory.Delete(keys, recursive: true);
        }
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    public JsonElement Result(string name)
    {
        var result = _results.TryGetValue(name, out var found) ? found : throw new XunitException($"The client reported no case '{name}'.");
        return result.TryGetProperty("error", out var error) ? throw new XunitException($"The client failed in '{name}': {error}") : result;
    }

    /// <summary>A folder with a key pair for each service: <c>name.key</c>, and <c>name.pem</c>, which the server trusts.</summary>
    private static string Keys(params string[] services)
    {
        var folder = Directory.CreateTempSubdirectory("crm-conformance-").FullName;
        foreach (var service in services)
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            File.WriteAllText(Path.Combine(folder, service + ".key"), key.ExportPkcs8PrivateKeyPem());
            File.WriteAllText(Path.Combine(folder, service + ".pem"), key.ExportSubjectPublicKeyInfoPem());
        }

        return folder;
    }

    private async Task ListeningAsync(Process server, int port)
    {
        var begin = Stopwatch.StartNew();
        while (begin.Elapsed < TimeSpan.FromSeconds(30) && !server.HasExited)
        {
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync(IPAddress.Loopback, port);
                return;
            }
            catch (SocketException)
            {
                await Task.Delay(50);
            }
        }

        throw new InvalidOperationException($"The conformance server does not listen on {port}:\n{ServerLog}");
    }

    private void Keep(object sender, DataReceivedEventArgs line)
    {
        lock (_log)
        {
            _log.AppendLine(line.Data);
        }
    }
}

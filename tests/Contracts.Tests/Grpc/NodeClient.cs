using System.Diagnostics;
using System.Text.Json;

namespace Contracts.Tests.Grpc;

/// <summary>The independent gRPC client of <c>grpc-client/</c>: installs it once, runs a script, gives the JSON line of each case.</summary>
internal static class NodeClient
{
    private static readonly SemaphoreSlim Installing = new(1, 1);

    public static async Task<IReadOnlyDictionary<string, JsonElement>> RunAsync(string script, params string[] arguments)
    {
        var folder = Path.Combine(Repository.Root, "tests", "Contracts.Tests", "grpc-client");
        await InstallAsync(folder);
        var output = await ProcessAsync("node", folder, [script, .. arguments]);
        return output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => JsonElement.Parse(line))
            .ToDictionary(result => result.GetProperty("name").GetString()!, StringComparer.Ordinal);
    }

    private static async Task InstallAsync(string folder)
    {
        // Two classes ask at once in a fresh clone, and npm ci starts by removing what is there.
        await Installing.WaitAsync();
        try
        {
            // npm writes this file last.
            var installed = new FileInfo(Path.Combine(folder, "node_modules", ".package-lock.json"));
            if (!installed.Exists || installed.LastWriteTimeUtc < File.GetLastWriteTimeUtc(Path.Combine(folder, "package-lock.json")))
            {
                await ProcessAsync("npm", folder, ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
            }
        }
        finally
        {
            Installing.Release();
        }
    }

    private static async Task<string> ProcessAsync(string command, string folder, string[] arguments)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        using var process = Process.Start(new ProcessStartInfo(command, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        }) ?? throw new InvalidOperationException($"{command} did not start.");
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(timeout.Token);
            var error = process.StandardError.ReadToEndAsync(timeout.Token);
            await process.WaitForExitAsync(timeout.Token);
            return process.ExitCode == 0
                ? await output
                : throw new InvalidOperationException($"{command} {string.Join(' ', arguments)} ended with {process.ExitCode}:\n{await error}\n{await output}");
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }
}

internal static class Repository
{
    public static string Root { get; } = Find();

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Crm.Platform.sln")))
            {
                return folder.FullName;
            }
        }

        throw new InvalidOperationException("Crm.Platform.sln is in no folder above the tests.");
    }
}

using System.Diagnostics;

namespace Crm.Runner;

public sealed record ShellResult(int ExitCode, string Output);

/// <summary>Programs that are run to their end.</summary>
public static class Shell
{
    public static ShellResult Run(IReadOnlyList<string> command) => RunAsync(command).GetAwaiter().GetResult();

    public static void Require(IReadOnlyList<string> command)
    {
        var result = Run(command);
        if (result.ExitCode != 0)
            throw new RunnerException($"{string.Join(' ', command)} failed:\n{result.Output}", "");
    }

    /// <summary>Both streams as one text.</summary>
    public static async Task<ShellResult> RunAsync(
        IReadOnlyList<string> command, IReadOnlyDictionary<string, string?>? environment = null, string? folder = null, CancellationToken ct = default)
    {
        var start = new ProcessStartInfo(command[0])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder ?? "/",
        };
        foreach (var argument in command.Skip(1))
            start.ArgumentList.Add(argument);
        foreach (var (name, value) in environment ?? new Dictionary<string, string?>())
            start.Environment[name] = value;

        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync(ct);
        var error = process.StandardError.ReadToEndAsync(ct);
        try
        {
            await process.WaitForExitAsync(ct);
        }
        catch (OperationCanceledException)
        {
            OwnedProcess.KillWithDescendants(process.Id);
            throw;
        }

        return new(process.ExitCode, await output + await error);
    }
}

using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Xml.Linq;
using Crm.Runner.Images;

namespace Crm.Runner.Commands;

/// <summary>Builds, runs every test project, and ends with one line of counts.</summary>
internal static class TestCommand
{
    /// <summary>Takes as long as all others together: beside those, which run one after the other.</summary>
    private const string Longest = "Platform.Tests";

    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var root = Topology.FindRoot();
        var progress = new Progress();
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        if (int.TryParse(Environment.GetEnvironmentVariable("CRM_TEST_MINUTES"), CultureInfo.InvariantCulture, out var minutes))
            limit.CancelAfter(TimeSpan.FromMinutes(minutes));

        try
        {
            // Before a build of minutes, not in each fixture after it.
            if (Environment.GetEnvironmentVariable(TestEngine.Switch) == "containers")
                await TestEngine.FindAsync(root);
            await Build.Everything(root).RunAsync(progress.Step, ct);
        }
        catch (RunnerException e)
        {
            // The last line is the count here too.
            Console.WriteLine($"{e.Problem}\n{e.Remedy}\n0 passed, 1 failed");
            return 1;
        }

        var results = Path.Combine(Installation.FolderOf(root), "test-results");
        if (Directory.Exists(results))
            Directory.Delete(results, recursive: true);
        var lanes = Directory.EnumerateFiles(Path.Combine(root, "tests"), "*.Tests.csproj", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
            .GroupBy(p => Path.GetFileNameWithoutExtension(p) == Longest);
        var ended = new List<Ended>();
        await Task.WhenAll(lanes.Select(async projects =>
        {
            foreach (var project in projects)
            {
                progress.Step("test", Path.GetFileNameWithoutExtension(project));
                var one = await TestAsync(root, project, results, args, limit.Token);
                lock (ended)
                {
                    ended.Add(one);
                    progress.Step("tested", one.Project);
                    Console.WriteLine(one.Output);
                }
            }
        }));

        var failures = ended.SelectMany(e => e.Failures).ToList();
        var (passed, skipped) = (ended.Sum(e => e.Passed), ended.Sum(e => e.Skipped));
        foreach (var failure in failures)
            Console.WriteLine($"FAILED {failure}");
        Console.WriteLine($"{passed} passed, {failures.Count} failed{(skipped > 0 ? $", {skipped} skipped" : "")}");
        return failures.Count == 0 && passed > 0 ? 0 : 1;
    }

    private static async Task<Ended> TestAsync(string root, string project, string results, string[] args, CancellationToken ct)
    {
        var name = Path.GetFileNameWithoutExtension(project);
        if (ct.IsCancellationRequested)
            return new(name, 0, 0, [$"{name}: the time was over before it started"], "");
        var report = Path.Combine(results, name + ".trx");
        var (exit, output) = await RunAsync(root, project, report, args, ct);
        var outcomes = File.Exists(report) ? Outcomes(report).ToList() : [];
        var failures = outcomes.Where(o => o.Outcome is not ("Passed" or "NotExecuted")).Select(o => $"{o.Test}{(o.Message is { } said ? $"\n  {said[..Math.Min(said.Length, 1000)].ReplaceLineEndings("\n  ")}" : "")}").ToList();
        // A run that ended without a word (crash, time-out) is a failure too.
        if (exit != 0 && failures.Count == 0)
            failures.Add($"{name}: the test run ended with {exit}");
        return new(name, outcomes.Count(o => o.Outcome == "Passed"), outcomes.Count(o => o.Outcome == "NotExecuted"), failures, output);
    }

    private static async Task<(int Exit, string Output)> RunAsync(string root, string project, string report, string[] args, CancellationToken ct)
    {
        var start = new ProcessStartInfo("dotnet")
        {
            UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = root,
        };
        foreach (var argument in (string[])["test", project, "-c", "Release", "--no-build", "-v", "q", "-nologo", "--logger", $"trx;LogFileName={report}", "--logger", "console;verbosity=minimal", .. args])
            start.ArgumentList.Add(argument);
        start.Environment["CRM_ROOT"] = root;
        // Of the test programs themselves.
        foreach (var (name, value) in ReadyToRun.ShortLived)
            start.Environment.TryAdd(name, value);
        start.Environment.TryAdd("CRM_SHARED", Path.GetFullPath(Path.Combine(root, "..", "shared")));
        var output = new StringBuilder();
        using var process = new Process { StartInfo = start };
        process.OutputDataReceived += (_, line) => Add(line.Data);
        process.ErrorDataReceived += (_, line) => Add(line.Data);
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        process.StandardInput.Close();
        try
        {
            await process.WaitForExitAsync(ct);
            return (process.ExitCode, Said());
        }
        catch (OperationCanceledException)
        {
            OwnedProcess.KillWithDescendants(process.Id);
            return (124, Said());
        }

        void Add(string? line)
        {
            lock (output)
                output.AppendLine(line);
        }

        string Said()
        {
            lock (output)
                return output.ToString().Trim();
        }
    }

    private static IEnumerable<(string Test, string Outcome, string? Message)> Outcomes(string report)
    {
        XNamespace ns = "http://microsoft.com/schemas/VisualStudio/TeamTest/2010";
        return XDocument.Load(report).Descendants(ns + "UnitTestResult")
            .Select(r => ((string)r.Attribute("testName")!, (string)r.Attribute("outcome")!, (string?)r.Descendants(ns + "Message").FirstOrDefault()));
    }

    private sealed record Ended(string Project, int Passed, int Skipped, IReadOnlyList<string> Failures, string Output);
}

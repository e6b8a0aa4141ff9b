using System.Diagnostics;
using System.Globalization;
using System.Xml.Linq;
using Crm.Runner.Images;

namespace Crm.Runner.Commands;

/// <summary>Builds, runs every test project one after another, and ends with one line of counts.</summary>
internal static class TestCommand
{
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

        // The projects that start the whole platform come last: by then the cheap ones have told what is broken.
        var projects = Directory.EnumerateFiles(Path.Combine(root, "tests"), "*.Tests.csproj", SearchOption.AllDirectories)
            .OrderBy(p => p.Contains("Platform.Tests", StringComparison.Ordinal)).ThenBy(p => p, StringComparer.Ordinal).ToList();
        var results = Path.Combine(Installation.FolderOf(root), "test-results");
        if (Directory.Exists(results))
            Directory.Delete(results, recursive: true);

        var (passed, failed, skipped) = (0, 0, 0);
        var failures = new List<string>();
        foreach (var project in projects)
        {
            var name = Path.GetFileNameWithoutExtension(project);
            if (limit.IsCancellationRequested)
            {
                failures.Add($"{name}: the time was over before it started");
                failed++;
                continue;
            }

            progress.Step("test", name);
            var report = Path.Combine(results, name + ".trx");
            var exit = await RunAsync(root, project, report, args, limit.Token);
            var outcomes = File.Exists(report) ? Outcomes(report).ToList() : [];
            passed += outcomes.Count(o => o.Outcome == "Passed");
            skipped += outcomes.Count(o => o.Outcome == "NotExecuted");
            var broken = outcomes.Where(o => o.Outcome is not ("Passed" or "NotExecuted")).Select(o => o.Test).ToList();
            // A run that ended without a word (crash, time-out) is a failure too.
            if (exit != 0 && broken.Count == 0)
                broken.Add($"{name}: the test run ended with {exit}");
            failed += broken.Count;
            failures.AddRange(broken);
        }

        foreach (var failure in failures)
            Console.WriteLine($"FAILED {failure}");
        Console.WriteLine($"{passed} passed, {failed} failed{(skipped > 0 ? $", {skipped} skipped" : "")}");
        return failed == 0 && passed > 0 ? 0 : 1;
    }

    private static async Task<int> RunAsync(string root, string project, string report, string[] args, CancellationToken ct)
    {
        var start = new ProcessStartInfo("dotnet") { UseShellExecute = false, RedirectStandardInput = true, WorkingDirectory = root };
        foreach (var argument in (string[])["test", project, "-c", "Release", "--no-build", "-v", "q", "-nologo", "--logger", $"trx;LogFileName={report}", "--logger", "console;verbosity=minimal", .. args])
            start.ArgumentList.Add(argument);
        start.Environment["CRM_ROOT"] = root;
        // Of the test programs themselves.
        foreach (var (name, value) in ReadyToRun.ShortLived)
            start.Environment.TryAdd(name, value);
        start.Environment.TryAdd("CRM_SHARED", Path.GetFullPath(Path.Combine(root, "..", "shared")));
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        try
        {
            await process.WaitForExitAsync(ct);
            return process.ExitCode;
        }
        catch (OperationCanceledException)
        {
            OwnedProcess.KillWithDescendants(process.Id);
            return 124;
        }
    }

    private static IEnumerable<(string Test, string Outcome)> Outcomes(string report)
    {
        XNamespace ns = "http://microsoft.com/schemas/VisualStudio/TeamTest/2010";
        return XDocument.Load(report).Descendants(ns + "UnitTestResult").Select(r => ((string)r.Attribute("testName")!, (string)r.Attribute("outcome")!));
    }
}

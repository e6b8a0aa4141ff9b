using System.Globalization;
using Crm.Runner;
using Crm.Testing;

namespace Runner.Tests;

public sealed class OwnedProcessTests : IDisposable
{
    private readonly string _folder = Reaper.TemporaryFolder("processes");

    [Fact]
    public async Task Killing_a_process_ends_its_children_too()
    {
        var process = Start("sleep 1000 & echo $!; wait");
        var child = int.Parse(await FirstLogLineAsync(process), CultureInfo.InvariantCulture);

        await process.KillAsync();

        Assert.False(process.IsAlive);
        await Eventually.GetAsync(() => Task.FromResult(OwnedProcess.StartOf(child)), start => start is null, ct: TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_process_that_ignores_SIGTERM_is_killed_after_the_grace()
    {
        var process = Start("trap '' TERM; echo ready; while :; do sleep 0.05; done");
        await FirstLogLineAsync(process);

        Assert.False(await process.StopAsync(TimeSpan.FromMilliseconds(300)));
        Assert.False(process.IsAlive);
    }

    [Fact]
    public async Task A_process_that_ends_on_SIGTERM_is_not_killed()
    {
        var process = Start("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
        await FirstLogLineAsync(process);

        Assert.True(await process.StopAsync(TimeSpan.FromSeconds(10)));
        Assert.Contains("bye", process.LogTail());
    }

    [Fact]
    public void The_id_of_another_process_is_not_taken_for_an_own_one()
    {
        var start = OwnedProcess.StartOf(Environment.ProcessId)!.Value;

        Assert.NotNull(OwnedProcess.Find("self", Environment.ProcessId, start));
        Assert.Null(OwnedProcess.Find("self", Environment.ProcessId, start - 1));
    }

    [Fact]
    public async Task A_frozen_process_is_alive_and_goes_on_when_it_is_thawed()
    {
        var process = Start("i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done");
        await FirstLogLineAsync(process);

        await process.FreezeAsync();
        var before = process.LogTail(1);
        await Task.Delay(150, TestContext.Current.CancellationToken);
        Assert.Equal(before, process.LogTail(1));
        Assert.True(process.IsAlive);

        process.Thaw();
        await Eventually.GetAsync(() => Task.FromResult(process.LogTail(1)), last => last != before, ct: TestContext.Current.CancellationToken);
        await process.KillAsync();
    }

    [Fact]
    public async Task A_process_does_nothing_any_more_when_its_freezing_has_returned()
    {
        var process = Start("echo ready; while :; do :; done");
        await FirstLogLineAsync(process);
        using var busy = new CancellationTokenSource();
        var load = Enumerable.Range(0, 4 * Environment.ProcessorCount).Select(_ => Task.Factory.StartNew(() => SpinUntil(busy.Token), TaskCreationOptions.LongRunning)).ToArray();

        for (var i = 0; i < 50; i++)
        {
            await process.FreezeAsync();
            Assert.Contains(") T ", await File.ReadAllTextAsync($"/proc/{process.Pid}/stat", TestContext.Current.CancellationToken), StringComparison.Ordinal);
            process.Thaw();
        }

        await busy.CancelAsync();
        await Task.WhenAll(load);
        await process.KillAsync();
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static void SpinUntil(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
        }
    }

    private OwnedProcess Start(string script) => OwnedProcess.Start(new ProcessSpec
    {
        Name = "script",
        Command = ["bash", "-c", script],
        LogFile = Path.Combine(_folder, Guid.NewGuid().ToString("N") + ".log"),
        EndWithCaller = true,
    });

    private static async Task<string> FirstLogLineAsync(OwnedProcess process) =>
        (await Eventually.GetAsync(() => Task.FromResult(process.LogTail()), text => text.Length > 0, ct: TestContext.Current.CancellationToken)).Split('\n')[0];
}

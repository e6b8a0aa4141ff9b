using System.Globalization;
using System.Runtime.InteropServices;
using Crm.Runner;
using Crm.Runner.Commands;

CultureInfo.DefaultThreadCurrentCulture = CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;

var commands = new Dictionary<string, Func<string[], CancellationToken, Task<int>>>
{
    ["up"] = UpCommand.RunAsync,
    ["down"] = DownCommand.RunAsync,
    ["status"] = StatusCommand.RunAsync,
    ["test"] = TestCommand.RunAsync,
    ["demo"] = DemoCommand.RunAsync,
    ["load"] = LoadCommand.RunAsync,
    ["chaos"] = ChaosCommand.RunAsync,
    ["histories"] = HistoriesCommand.RunAsync,
    ["upgrade-drill"] = UpgradeDrillCommand.RunAsync,
    ["bench"] = BenchCommand.RunAsync,
    ["bare-endpoint"] = Crm.Runner.Bench.BareEndpoint.RunAsync,
    ["match"] = MatchCommand.RunAsync,
    ["dead-letters"] = DeadLettersCommand.RunAsync,
    ["audit"] = AuditCommand.RunAsync,
    ["find-personal-data"] = FindPersonalDataCommand.RunAsync,
    ["backup"] = BackupCommand.RunAsync,
    ["restore"] = RestoreCommand.RunAsync,
    ["keep-release"] = KeepReleaseCommand.RunAsync,
    ["images"] = ImagesCommand.RunAsync,
    ["smtp-sink"] = SmtpSinkCommand.RunAsync,
};

if (args.Length == 0 || !commands.TryGetValue(args[0], out var command))
{
    Console.Error.WriteLine($"Commands: {string.Join(", ", commands.Keys)}. Run ./crm help.");
    return 64;
}

using var stop = new CancellationTokenSource();
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Cancel);
using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Cancel);
try
{
    return await command(args[1..], stop.Token);
}
catch (Exception e) when (e is RunnerException or AggregateException { InnerException: RunnerException })
{
    var problem = e as RunnerException ?? (RunnerException)e.InnerException!;
    Console.Error.WriteLine($"\ncrm: {problem.Problem}");
    foreach (var line in problem.Remedy.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        Console.Error.WriteLine($"     {line}");
    return 1;
}
catch (ApiException e)
{
    Console.Error.WriteLine($"\ncrm: {e.Message}\n     The logs are shown by ./crm logs.");
    return 1;
}
catch (OperationCanceledException) when (stop.IsCancellationRequested)
{
    Console.Error.WriteLine("\ncrm: interrupted. What was started stays; ./crm up goes on, ./crm down stops it.");
    return 130;
}

void Cancel(PosixSignalContext context)
{
    context.Cancel = true;
    stop.Cancel();
}

namespace Crm.Runner.Commands;

/// <summary>Asks every service for its dead letters, or has them tried again.</summary>
internal static class DeadLettersCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        if (args is [])
            args = ["list"];
        if (args is not (["list"] or ["replay", _]))
            throw new RunnerException($"dead-letters does not know '{string.Join(' ', args)}'.", "Write: ./crm dead-letters list, or replay <id>, or replay all.");

        var (asked, failed) = await EveryService.RunModeAsync(["--dead-letters", .. args], ct);
        // An id belongs to one service; the others say that they do not have it.
        return args is ["replay", not "all"] ? (failed < asked ? 0 : 1) : (failed == 0 ? 0 : 1);
    }
}

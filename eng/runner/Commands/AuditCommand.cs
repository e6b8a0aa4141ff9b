namespace Crm.Runner.Commands;

/// <summary>Verifies the audit log of every service, or writes it out for a SIEM.</summary>
internal static class AuditCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        if (args is [])
            args = ["verify"];
        if (args is not (["verify"] or ["export"]))
            throw new RunnerException($"audit does not know '{string.Join(' ', args)}'.", "Write: ./crm audit verify, or ./crm audit export.");

        var (_, failed) = await EveryService.RunModeAsync(["--audit", .. args], ct);
        return failed == 0 ? 0 : 1;
    }
}

namespace Crm.Runner.Rollouts;

/// <summary>The sources of an earlier commit, in a worktree of their own that is kept: what did not change is not built again.</summary>
internal static class PreviousRelease
{
    private static readonly string[] Programs = ["services", "gateway", "hosting", "contracts"];

    /// <param name="commit">Null: the one before the last that changed a program or a contract.</param>
    /// <returns>The folder, and the commit with its subject.</returns>
    public static async Task<(string Root, string Commit)> CheckOutAsync(string root, string? commit, CancellationToken ct)
    {
        commit ??= $"{await GitAsync(root, ["log", "-1", "--first-parent", "--format=%H", "HEAD", "--", .. Programs], ct)}^";
        var id = await GitAsync(root, ["rev-parse", "--verify", "--end-of-options", $"{commit}^{{commit}}"], ct);
        var folder = Path.Combine(Installation.FolderOf(root), "previous-release");
        if (File.Exists(Path.Combine(folder, ".git")))
        {
            await GitAsync(folder, ["checkout", "-q", "--force", "--detach", id], ct);
        }
        else
        {
            // Forced: git may remember a worktree that was removed with .run/.
            await GitAsync(root, ["worktree", "add", "-q", "--force", "--detach", folder, id], ct);
        }

        return (folder, await GitAsync(root, ["log", "-1", "--format=%h %s", id], ct));
    }

    public static Task<string> DescribeAsync(string root, CancellationToken ct) => GitAsync(root, ["log", "-1", "--format=%h %s", "HEAD"], ct);

    private static async Task<string> GitAsync(string folder, IReadOnlyList<string> arguments, CancellationToken ct)
    {
        var result = await Shell.RunAsync(["git", "-C", folder, .. arguments], ct: ct);
        return result.ExitCode == 0 ? result.Output.Trim() : throw new RunnerException($"git {string.Join(' ', arguments)} failed:\n{result.Output}", "");
    }
}

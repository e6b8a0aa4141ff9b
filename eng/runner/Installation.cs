using System.Globalization;
using System.Text.Json;

namespace Crm.Runner;

public sealed record ProcessRecord(string Name, int Pid, long StartTicks, string LogFile);

/// <summary>What .run/processes.json says.</summary>
public sealed record InstallationState
{
    /// <summary>Marks the processes of this installation in their environment.</summary>
    public string Id { get; init; } = SecretText.New(16);

    /// <summary>Process start times count from the boot, so records of another boot say nothing.</summary>
    public string Boot { get; init; } = "";

    public PortMap? Ports { get; init; }

    /// <summary>Names of tye.yaml for which an existing server was given.</summary>
    public List<string> External { get; init; } = [];

    public List<ProcessRecord> Processes { get; init; } = [];
}

/// <summary>
/// The platform that ./crm up keeps under .run/: its folder, which processes are its own, and one command at a time on it.
/// </summary>
public sealed class Installation : IDisposable
{
    /// <summary>Carries "id/name" in the environment of every process of the installation: a start that was interrupted before it was recorded is found by it.</summary>
    public const string Mark = "CRM_PROCESS";

    private static readonly JsonSerializerOptions Json = new() { WriteIndented = true };

    private readonly FileStream? _lock;
    private readonly Dictionary<string, OwnedProcess> _running = [];
    private readonly Lock _gate = new();
    private InstallationState _state;

    private Installation(string root, FileStream? held)
    {
        Root = root;
        Folder = FolderOf(root);
        _lock = held;
        _state = Read();
        FindRunning();
    }

    public string Root { get; }

    public string Folder { get; }

    public string Id => _state.Id;

    /// <summary>The ports of the processes that run, or of the last start.</summary>
    public PortMap? Ports => _state.Ports;

    public string CredentialsFile => Path.Combine(Folder, "credentials.env");

    public IReadOnlyDictionary<string, OwnedProcess> Running => _running;

    /// <summary>Opens it for a command that changes something; a second one is refused.</summary>
    public static Installation Open(string root)
    {
        Directory.CreateDirectory(FolderOf(root));
        try
        {
            return new Installation(root, new FileStream(Path.Combine(FolderOf(root), "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
        }
        catch (IOException)
        {
            throw new RunnerException("Another ./crm up or down is at work here.", "Wait for it to end, and run this again.");
        }
    }

    /// <summary>Opens it for a command that only looks.</summary>
    public static Installation Look(string root) => new(root, null);

    public static string FolderOf(string root) => Path.Combine(root, ".run");

    public string LogFile(string name) => Path.Combine(Folder, "logs", name + ".log");

    public Dictionary<string, string?> MarkOf(string name) => new() { [Mark] = $"{Id}/{name}" };

    /// <summary>Whether this installation's process of that name runs.</summary>
    public bool IsRunning(string name) => _running.TryGetValue(name, out var process) && process.IsAlive;

    public IReadOnlyCollection<string> External => _state.External;

    public void Use(PortMap ports, IEnumerable<string> external)
    {
        _state = _state with { Ports = ports, External = [.. external] };
        Save();
    }

    public void Record(OwnedProcess process)
    {
        lock (_gate)
        {
            _running[process.Name] = process;
            Save();
        }
    }

    public void Forget(string name)
    {
        lock (_gate)
        {
            _running.Remove(name);
            Save();
        }
    }

    /// <summary>CRM_URL, CRM_ADMIN_KEY and CRM_PARTNER_KEY of the last start; empty when there was none.</summary>
    public IReadOnlyDictionary<string, string> ReadCredentials() => File.Exists(CredentialsFile)
        ? File.ReadLines(CredentialsFile).Select(l => l.Split('=', 2)).Where(p => p.Length == 2).ToDictionary(p => p[0], p => p[1])
        : [];

    public void Dispose() => _lock?.Dispose();

    private InstallationState Read()
    {
        var path = Path.Combine(Folder, "processes.json");
        return File.Exists(path) ? JsonSerializer.Deserialize<InstallationState>(File.ReadAllText(path))! : new InstallationState();
    }

    private void Save()
    {
        _state = _state with
        {
            Boot = BootId(),
            Processes = [.. _running.Values.Select(p => new ProcessRecord(p.Name, p.Pid, p.StartTicks, p.LogFile ?? LogFile(p.Name)))],
        };
        var path = Path.Combine(Folder, "processes.json");
        File.WriteAllText(path + ".unfinished", JsonSerializer.Serialize(_state, Json));
        File.Move(path + ".unfinished", path, overwrite: true);
    }

    private void FindRunning()
    {
        if (_state.Boot == BootId())
        {
            foreach (var record in _state.Processes)
            {
                if (OwnedProcess.Find(record.Name, record.Pid, record.StartTicks, record.LogFile) is { } process)
                    _running[record.Name] = process;
            }
        }

        foreach (var (name, pid) in Marked())
        {
            if (!_running.ContainsKey(name) && OwnedProcess.StartOf(pid) is { } ticks && OwnedProcess.Find(name, pid, ticks, LogFile(name)) is { } process)
                _running[name] = process;
        }

        // PostgreSQL writes its title over its environment; it is known by its data folder.
        if (!_running.ContainsKey("postgres") && PrivatePostgres.FindRunning(PrivatePostgres.ReachableFolder(Path.Combine(Folder, "postgres"))) is { } postmaster)
            _running["postgres"] = postmaster;
    }

    private IEnumerable<(string Name, int Pid)> Marked()
    {
        var prefix = $"{Mark}={Id}/";
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder), CultureInfo.InvariantCulture, out var pid))
                continue;
            string? name = null;
            try
            {
                var mark = File.ReadAllText($"{folder}/environ").Split('\0').FirstOrDefault(v => v.StartsWith(prefix, StringComparison.Ordinal));
                if (mark is null)
                    continue;
                var stat = File.ReadAllText($"{folder}/stat");
                var session = stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[3];
                if (session == pid.ToString(CultureInfo.InvariantCulture))
                    name = mark[prefix.Length..];
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It ended, or belongs to somebody else.
            }

            if (name is not null)
                yield return (name, pid);
        }
    }

    private static string BootId() => File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();
}

using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Crm.Runner;

public sealed record ProcessSpec
{
    public required string Name { get; init; }
    public required IReadOnlyList<string> Command { get; init; }
    public required string LogFile { get; init; }

    /// <summary>Set on top of the caller's own environment; null removes.</summary>
    public IReadOnlyDictionary<string, string?> Environment { get; init; } = new Dictionary<string, string?>();

    public string? WorkingFolder { get; init; }

    /// <summary>Another user to run as; only root may name one.</summary>
    public string? User { get; init; }

    /// <summary>End the process when this one ends, however it ends (tests); else it stays (./crm up).</summary>
    public bool EndWithCaller { get; init; }
}

/// <summary>
/// A process that this platform started: in a session of its own, with its output in a file, known by id and start time
/// together, so that a re-used id is never taken for it.
/// </summary>
public sealed partial class OwnedProcess : IServerProcess
{
    private const int Interrupt = 2, Kill = 9, Terminate = 15, Continue = 18, Stop = 19;

    private OwnedProcess(string name, int pid, long startTicks, string? logFile)
    {
        Name = name;
        Pid = pid;
        StartTicks = startTicks;
        LogFile = logFile;
    }

    public string Name { get; }

    public int Pid { get; }

    /// <summary>Clock ticks between boot and the start of the process (proc_pid_stat(5), field 22).</summary>
    public long StartTicks { get; }

    public string? LogFile { get; }

    public bool IsAlive => StartOf(Pid) == StartTicks;

    public static OwnedProcess Start(ProcessSpec spec)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(spec.LogFile)!);
        var start = new ProcessStartInfo("setsid")
        {
            UseShellExecute = false,
            WorkingDirectory = spec.WorkingFolder ?? "/",
        };
        // The shell opens the log and becomes the program, so the id stays and no pipe ties the two lives together.
        foreach (var argument in (string[])["sh", "-c", "exec </dev/null >>\"$1\" 2>&1; shift; exec \"$@\"", "sh", spec.LogFile])
            start.ArgumentList.Add(argument);
        foreach (var argument in AsUser(spec.User).Concat(spec.Command))
            start.ArgumentList.Add(argument);
        foreach (var (name, value) in spec.Environment)
        {
            if (value is null)
                start.Environment.Remove(name);
            else
                start.Environment[name] = value;
        }

        using var process = Process.Start(start) ?? throw new RunnerException($"{spec.Name} could not be started.", "");
        var owned = new OwnedProcess(spec.Name, process.Id, StartOf(process.Id) ?? 0, spec.LogFile);
        if (spec.EndWithCaller)
            Reaper.Watch(owned);
        return owned;
    }

    /// <summary>The process when it still runs, else null.</summary>
    public static OwnedProcess? Find(string name, int pid, long startTicks, string? logFile = null) =>
        StartOf(pid) == startTicks ? new OwnedProcess(name, pid, startTicks, logFile) : null;

    /// <summary>A command line that runs the rest as another user, without a process in between.</summary>
    public static string[] AsUser(string? user) =>
        user is null ? [] : ["setpriv", $"--reuid={user}", $"--regid={user}", "--init-groups", "--"];

    /// <summary>Field 22 of /proc/PID/stat; null when the process is gone or only waits to be collected.</summary>
    public static long? StartOf(int pid) =>
        FieldsOf($"/proc/{pid}/stat") is { } fields && fields[0] is not ("Z" or "X") ? long.Parse(fields[19], CultureInfo.InvariantCulture) : null;

    /// <summary>kill -9 of the process and of everything in its session's group; returns when it is gone.</summary>
    public async Task KillAsync()
    {
        var children = ChildrenOf(Pid);
        Signal(Kill);
        // A PostgreSQL backend leads a group of its own.
        foreach (var (pid, ticks) in children)
        {
            if (StartOf(pid) == ticks)
                _ = SendSignal(pid, Kill);
        }

        await WaitForExitAsync(TimeSpan.FromSeconds(30));
        foreach (var (pid, ticks) in children)
        {
            while (StartOf(pid) == ticks)
                await Task.Delay(5);
        }
    }

    /// <summary>SIGTERM, or SIGINT where that is the program's word for a quick clean end; SIGKILL when the time is over.</summary>
    /// <returns>Whether it ended by itself.</returns>
    public async Task<bool> StopAsync(TimeSpan grace, bool interrupt = false)
    {
        if (!IsAlive)
            return true;
        _ = SendSignal(Pid, interrupt ? Interrupt : Terminate);
        if (await WaitForExitAsync(grace))
            return true;
        await KillAsync();
        return false;
    }

    public async Task<bool> WaitForExitAsync(TimeSpan limit)
    {
        var start = Stopwatch.GetTimestamp();
        while (IsAlive)
        {
            if (Stopwatch.GetElapsedTime(start) > limit)
                return false;
            await Task.Delay(20);
        }

        return true;
    }

    /// <summary>SIGSTOP and SIGCONT: a process that hangs but holds its connections; returns when it hangs.</summary>
    public async Task FreezeAsync()
    {
        Signal(Stop);
        await WaitForStopAsync(Pid);
    }

    public void Thaw() => Signal(Continue);

    Task<bool> IServerProcess.IsAliveAsync() => Task.FromResult(IsAlive);

    /// <summary>With its children, which PostgreSQL gives groups of their own: they would go on answering.</summary>
    async Task IServerProcess.FreezeAsync()
    {
        await FreezeAsync();
        SignalChildren(Stop);
        foreach (var (child, _) in ChildrenOf(Pid))
            await WaitForStopAsync(child);
    }

    Task IServerProcess.ThawAsync()
    {
        SignalChildren(Continue);
        Thaw();
        return Task.CompletedTask;
    }

    /// <summary>The last lines of the log.</summary>
    public string LogTail(int lines = 30) => LogFile is not null ? TailOf(LogFile, lines) : "";

    internal static string TailOf(string logFile, int lines) => File.Exists(logFile) ? string.Join('\n', ReadShared(logFile).TakeLast(lines)) : "";

    internal static IEnumerable<string> ReadShared(string path)
    {
        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        while (reader.ReadLine() is { } line)
            yield return line;
    }

    /// <summary>
    /// kill -9 of a process and of what it started in its own session. Servers of a test lead sessions of their own:
    /// they are left to the test's <see cref="Reaper"/>, which must live for that.
    /// </summary>
    internal static void KillWithDescendants(int pid)
    {
        var session = SessionOf(pid);
        if (session is null)
            return;
        // Stopped parents start nothing more while their children are looked for.
        _ = SendSignal(pid, Stop);
        foreach (var (child, _) in ChildrenOf(pid))
        {
            if (SessionOf(child) == session)
                KillWithDescendants(child);
        }

        _ = SendSignal(pid, Kill);
    }

    private static string? SessionOf(int pid) => FieldsOf($"/proc/{pid}/stat")?[3];

    private void Signal(int signal)
    {
        if (!IsAlive)
            return;
        // Just after the start the session is not yet made, and the group does not exist.
        if (SendSignal(-Pid, signal) != 0)
            _ = SendSignal(Pid, signal);
    }

    /// <summary>The signal wakes one thread, which stops the others when it gets to run; on a busy machine they go on working until then.</summary>
    private static async Task WaitForStopAsync(int pid)
    {
        var start = Stopwatch.GetTimestamp();
        while (StatesOf(pid).Any(state => state is not ("T" or "Z" or "X")))
        {
            if (Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(30))
                throw new RunnerException($"Process {pid} was not frozen within 30 s.", "It may have been thawed meanwhile.");
            await Task.Delay(1);
        }
    }

    /// <summary>The state of each of its threads; none when it is gone.</summary>
    private static IEnumerable<string> StatesOf(int pid)
    {
        string[] threads;
        try
        {
            threads = Directory.GetDirectories($"/proc/{pid}/task");
        }
        catch (IOException)
        {
            yield break;
        }

        foreach (var thread in threads)
        {
            if (FieldsOf($"{thread}/stat") is [var state, ..])
                yield return state;
        }
    }

    private void SignalChildren(int signal)
    {
        foreach (var (child, _) in IsAlive ? ChildrenOf(Pid) : [])
        {
            _ = SendSignal(child, signal);
        }
    }

    private static List<(int Pid, long Ticks)> ChildrenOf(int parent)
    {
        var children = new List<(int, long)>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder), CultureInfo.InvariantCulture, out var pid))
                continue;
            if (FieldsOf($"{folder}/stat") is { } fields && int.Parse(fields[1], CultureInfo.InvariantCulture) == parent)
                children.Add((pid, long.Parse(fields[19], CultureInfo.InvariantCulture)));
        }

        return children;
    }

    /// <summary>What stands in /proc behind the program's name, from the state (field 3) on; null when it is gone.</summary>
    private static string[]? FieldsOf(string file)
    {
        try
        {
            var stat = File.ReadAllText(file);
            return stat.Length == 0 ? null : stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SendSignal(int pid, int signal);
}

/// <summary>
/// Ends the processes and containers and removes the folders of a test run whose own process was killed: a small shell that waits for
/// the end of a pipe that only this process holds.
/// </summary>
public static class Reaper
{
    private const string Script = """
        procs= conts= dirs=
        while read -r kind a b; do
          case $kind in
            process) procs="$procs $a:$b" ;;
            container) conts="$conts $a,$b" ;;
            folder) dirs="$dirs $a" ;;
          esac
        done
        for p in $procs; do
          pid=${p%%:*}
          now=$(sed 's/.*) //' /proc/$pid/stat 2>/dev/null | cut -d' ' -f20)
          [ "$now" = "${p##*:}" ] && { kill -9 -- -$pid || kill -9 $pid; } 2>/dev/null
        done
        for c in $conts; do
          docker --host "${c%,*}" rm --force --volumes "${c##*,}"
        done
        [ -z "$dirs" ] || { sleep 1; rm -rf $dirs; }
        """;

    private static readonly Lazy<StreamWriter> Pipe = new(() =>
    {
        var start = new ProcessStartInfo("setsid") { UseShellExecute = false, RedirectStandardInput = true };
        foreach (var argument in (string[])["sh", "-c", "exec >/dev/null 2>&1; " + Script])
            start.ArgumentList.Add(argument);
        return Process.Start(start)!.StandardInput;
    });

    internal static void Watch(OwnedProcess process) => Write($"process {process.Pid} {process.StartTicks}");

    /// <param name="engine">Its address, such as unix:///var/run/docker.sock.</param>
    public static void WatchContainer(string engine, string id) => Write($"container {engine} {id}");

    /// <summary>A new folder for a test's servers, removed when this process ends.</summary>
    public static string TemporaryFolder(string name)
    {
        var folder = Directory.CreateTempSubdirectory($"crm-{name}-").FullName;
        // Root's PostgreSQL runs as another user, who must reach its data.
        File.SetUnixFileMode(folder, (UnixFileMode)Convert.ToInt32("711", 8));
        Write($"folder {folder}");
        return folder;
    }

    private static void Write(string line)
    {
        lock (Pipe)
        {
            Pipe.Value.WriteLine(line);
            Pipe.Value.Flush();
        }
    }
}

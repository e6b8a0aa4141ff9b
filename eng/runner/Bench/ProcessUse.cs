using System.Globalization;

namespace Crm.Runner.Bench;

/// <summary>What the processes of a platform have used of the machine until now.</summary>
internal sealed class ProcessUse
{
    public const string Postgres = "PostgreSQL", RabbitMq = "RabbitMQ", Client = "the bench itself";

    /// <summary>Linux reports times in hundredths of a second (sysconf(_SC_CLK_TCK)) on every architecture that .NET runs on.</summary>
    private const double TicksPerSecond = 100;

    private readonly Dictionary<string, double> _cpu = [];
    private readonly Dictionary<string, long> _memory = [];

    private ProcessUse()
    {
    }

    /// <summary>Seconds of one core since the start. PostgreSQL is there as a whole, and by database ("PostgreSQL contacts").</summary>
    public IReadOnlyDictionary<string, double> Cpu => _cpu;

    /// <summary>Bytes of the proportional set size: pages that several processes share are counted once.</summary>
    public IReadOnlyDictionary<string, long> Memory => _memory;

    /// <param name="platform">Whose servers are processes of this machine.</param>
    public static ProcessUse Of(Platform platform)
    {
        var use = new ProcessUse();
        foreach (var (name, service) in platform.Services)
            use.Add(name, service.Process!.Pid);
        use.Add(RabbitMq, ((OwnedProcess)platform.RabbitMq!.Process).Pid);
        use.Add(Client, Environment.ProcessId);
        var postmaster = ((OwnedProcess)platform.Postgres!.Process).Pid;
        use.Add(Postgres, postmaster, withEnded: true);
        foreach (var child in ChildrenOf(postmaster))
        {
            use.Add(Postgres, child);
            use.Add(DatabaseOf(child), child);
        }

        return use;
    }

    /// <param name="withEnded">With the time of its children that have ended.</param>
    private void Add(string name, int pid, bool withEnded = false)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            // Fields 14 to 17 of proc_pid_stat(5); the third is the first after the name.
            var ticks = stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[11..(withEnded ? 15 : 13)].Sum(t => long.Parse(t, CultureInfo.InvariantCulture));
            _cpu[name] = _cpu.GetValueOrDefault(name) + (ticks / TicksPerSecond);
            var pss = File.ReadLines($"/proc/{pid}/smaps_rollup").First(l => l.StartsWith("Pss:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1];
            _memory[name] = _memory.GetValueOrDefault(name) + (long.Parse(pss, CultureInfo.InvariantCulture) * 1024);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A backend that ended meanwhile.
        }
    }

    private static IEnumerable<int> ChildrenOf(int pid) =>
        File.ReadAllText($"/proc/{pid}/task/{pid}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(p => int.Parse(p, CultureInfo.InvariantCulture));

    /// <summary>From the title that PostgreSQL gives a backend: "postgres: user database host(port) activity".</summary>
    private static string DatabaseOf(int pid)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/cmdline").TrimEnd('\0', ' ').Split(' ') is ["postgres:", var user, var database, var host, ..] && user == database && host.Contains('(', StringComparison.Ordinal)
                ? $"{Postgres} {database}"
                : $"{Postgres} itself";
        }
        catch (IOException)
        {
            return $"{Postgres} itself";
        }
    }
}

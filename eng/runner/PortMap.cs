using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Serialization;

namespace Crm.Runner;

/// <summary>The port in use for each binding of tye.yaml.</summary>
public sealed class PortMap
{
    [JsonInclude]
    private Dictionary<string, int> Ports { get; init; } = [];

    public int this[string service, string binding] => Ports[Key(service, binding)];

    /// <summary>The ports of tye.yaml, moved by CRM_PORT_OFFSET (all) and CRM_PORT_&lt;SERVICE&gt;[_&lt;BINDING&gt;] (one).</summary>
    public static PortMap FromEnvironment(Topology topology)
    {
        var offset = Number("CRM_PORT_OFFSET") ?? 0;
        return new PortMap
        {
            Ports = topology.Entries.SelectMany(e => e.Bindings.Select(b => (e, b))).ToDictionary(
                x => Key(x.e.Name, x.b.Name),
                x => Number(VariableName(x.e, x.b)) ?? x.b.Port + offset),
        };
    }

    /// <summary>A free port for each binding, so that several platforms live on one machine.</summary>
    public static PortMap Free(Topology topology) => new()
    {
        Ports = topology.Entries.SelectMany(e => e.Bindings.Select(b => Key(e.Name, b.Name))).ToDictionary(k => k, _ => FreePort.Next()),
    };

    /// <summary>The variable that moves one binding; the first binding of a service needs only the service's name.</summary>
    public static string VariableName(TopologyEntry entry, TopologyBinding binding)
    {
        var name = "CRM_PORT_" + entry.Name.ToUpperInvariant().Replace('-', '_');
        return binding == entry.Bindings[0] ? name : $"{name}_{binding.Name.ToUpperInvariant()}";
    }

    private static string Key(string service, string binding) => $"{service}/{binding}";

    private static int? Number(string variable)
    {
        var text = Environment.GetEnvironmentVariable(variable);
        if (string.IsNullOrWhiteSpace(text))
            return null;
        return int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw new RunnerException($"{variable}={text} is not a number.", "Give a port, such as 8090.");
    }
}

/// <summary>
/// Ports that stay free while a killed server is away: taken below the range from which the kernel gives outgoing
/// connections theirs, else a client's connection may sit on the port when the server comes back. A port is this process's
/// until it ends, whether somebody listens on it or not yet: two programs that look at once find different ones.
/// </summary>
public static class FreePort
{
    private static readonly Lock Gate = new();
    private static readonly HashSet<int> Given = [];

    /// <summary>Locked files, one a port; the kernel unlocks them when the process ends, however it ends.</summary>
    private static readonly List<FileStream> Locks = [];

    public static int Next()
    {
        lock (Gate)
        {
            // Of each user, since one may not open the other's files.
            var folder = Path.Combine(Path.GetTempPath(), $"crm-ports-{Environment.UserName}");
            Directory.CreateDirectory(folder);
            for (var attempt = 0; attempt < 2_000; attempt++)
            {
                var port = Random.Shared.Next(15_000, LowestEphemeral());
                if (!Given.Contains(port) && TakeLock(Path.Combine(folder, port.ToString(CultureInfo.InvariantCulture))) is { } locked)
                {
                    if (CanListen(port))
                    {
                        Given.Add(port);
                        Locks.Add(locked);
                        return port;
                    }

                    locked.Dispose();
                }
            }
        }

        throw new RunnerException("No free port on 127.0.0.1.", "Stop some servers.");
    }

    public static bool CanListen(int port)
    {
        try
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
            socket.Listen();
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    /// <summary>Null when another process has it. The file stays: whoever deleted it would let two lock what they take for one.</summary>
    private static FileStream? TakeLock(string file)
    {
        try
        {
            return new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static int LowestEphemeral()
    {
        const string range = "/proc/sys/net/ipv4/ip_local_port_range";
        return File.Exists(range) && int.TryParse(File.ReadAllText(range).Split('\t', ' ')[0], CultureInfo.InvariantCulture, out var low) && low > 16_000
            ? low
            : 32_768;
    }
}

/// <summary>Who listens on a port, read from /proc.</summary>
public static class PortOwner
{
    private static readonly string[] Tables = ["/proc/net/tcp", "/proc/net/tcp6"];

    /// <summary>A sentence part such as "nginx (process 123)", or "another process" when the kernel does not tell this user.</summary>
    public static string Describe(int port)
    {
        var inodes = ListeningInodes(port);
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder), CultureInfo.InvariantCulture, out var pid))
                continue;
            try
            {
                foreach (var descriptor in Directory.EnumerateFiles($"{folder}/fd"))
                {
                    var target = new FileInfo(descriptor).LinkTarget;
                    if (target is not null && target.StartsWith("socket:[", StringComparison.Ordinal) && inodes.Contains(target[8..^1]))
                        return $"{File.ReadAllText($"{folder}/comm").Trim()} (process {pid})";
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The process ended, or belongs to somebody else.
            }
        }

        return "another process (this user may not see which)";
    }

    public static bool IsListening(int port) => ListeningInodes(port).Count > 0;

    private static HashSet<string> ListeningInodes(int port)
    {
        const string listen = "0A";
        var suffix = ":" + port.ToString("X4", CultureInfo.InvariantCulture);
        var inodes = new HashSet<string>();
        foreach (var table in Tables.Where(File.Exists))
        {
            foreach (var line in File.ReadLines(table).Skip(1))
            {
                var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (fields[3] == listen && fields[1].EndsWith(suffix, StringComparison.Ordinal))
                    inodes.Add(fields[9]);
            }
        }

        return inodes;
    }
}

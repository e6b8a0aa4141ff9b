using System.Globalization;
using System.Text.RegularExpressions;
using YamlDotNet.Serialization;
using YamlDotNet.Serialization.NamingConventions;

namespace Crm.Runner;

/// <summary>What tye.yaml says: the processes, where they listen and how they find each other.</summary>
public sealed partial class Topology
{
    private Topology(string root, IReadOnlyList<TopologyEntry> entries)
    {
        Root = root;
        Entries = entries;
    }

    /// <summary>The folder that holds tye.yaml; projects are named relative to it.</summary>
    public string Root { get; }

    public IReadOnlyList<TopologyEntry> Entries { get; }

    /// <summary>The processes of the platform itself, each with a database and modes; in the order of the file.</summary>
    public IEnumerable<TopologyEntry> Services => Entries.Where(e => e.IsService);

    public TopologyEntry this[string name] => Entries.FirstOrDefault(e => e.Name == name)
        ?? throw new RunnerException($"tye.yaml has no service '{name}'.", $"It has: {string.Join(", ", Entries.Select(e => e.Name))}.");

    public static Topology Load(string root)
    {
        var path = Path.Combine(root, "tye.yaml");
        if (!File.Exists(path))
            throw new RunnerException($"{path} is missing.", "Run from a whole clone of the repository, or name its root in CRM_ROOT.");

        var file = new DeserializerBuilder()
            .WithNamingConvention(CamelCaseNamingConvention.Instance)
            .IgnoreUnmatchedProperties()
            .Build()
            .Deserialize<TyeFile>(File.ReadAllText(path));

        return new Topology(root, [.. file.Services.Select(s => new TopologyEntry(
            s.Name,
            s.Project,
            s.Args,
            s.Tags.Contains("service"),
            [.. s.Bindings.Select(b => new TopologyBinding(b.Name, b.Port))],
            [.. s.Env.Select(Variable)]))]);
    }

    /// <summary>The repository that the running program belongs to: CRM_ROOT, else the nearest folder above with a tye.yaml.</summary>
    public static string FindRoot()
    {
        if (Environment.GetEnvironmentVariable("CRM_ROOT") is { Length: > 0 } root)
            return Path.GetFullPath(root);

        foreach (var start in new[] { AppContext.BaseDirectory, Environment.CurrentDirectory })
        {
            for (var folder = new DirectoryInfo(start); folder is not null; folder = folder.Parent)
            {
                if (File.Exists(Path.Combine(folder.FullName, "tye.yaml")))
                    return folder.FullName;
            }
        }

        throw new RunnerException("No tye.yaml in this folder or above.", "Run from inside the repository, or name its root in CRM_ROOT.");
    }

    /// <summary>The environment of a service with every address of the file replaced by the one in use.</summary>
    public IEnumerable<KeyValuePair<string, string>> EnvironmentOf(TopologyEntry entry, PortMap ports)
    {
        foreach (var (name, value) in entry.Environment)
            yield return new(name, LoopbackPort().Replace(value, m => m.Groups["host"].Value + Moved(m.Groups["port"].Value, ports)));
    }

    private string Moved(string port, PortMap ports)
    {
        var number = int.Parse(port, CultureInfo.InvariantCulture);
        foreach (var entry in Entries)
        {
            foreach (var binding in entry.Bindings)
            {
                if (binding.Port == number)
                    return ports[entry.Name, binding.Name].ToString(CultureInfo.InvariantCulture);
            }
        }

        return port;
    }

    private static KeyValuePair<string, string> Variable(object entry) => entry switch
    {
        string text when text.Split('=', 2) is [var name, var value] => new(name, value),
        IDictionary<object, object> map => new((string)map["name"], map.TryGetValue("value", out var value) ? value as string ?? "" : ""),
        _ => throw new RunnerException($"tye.yaml: '{entry}' is not an env entry.", "Write NAME=value, or name: and value:."),
    };

    [GeneratedRegex(@"(?<host>127\.0\.0\.1:)(?<port>\d+)|^(?<host>)(?<port>\d+)$", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex LoopbackPort();

    private sealed class TyeFile
    {
        public List<TyeService> Services { get; set; } = [];
    }

    private sealed class TyeService
    {
        public string Name { get; set; } = "";
        public string? Project { get; set; }
        public string? Args { get; set; }
        public List<string> Tags { get; set; } = [];
        public List<TyeBinding> Bindings { get; set; } = [];
        public List<object> Env { get; set; } = [];
    }

    private sealed class TyeBinding
    {
        public string Name { get; set; } = "";
        public int Port { get; set; }
    }
}

public sealed record TopologyBinding(string Name, int Port);

public sealed record TopologyEntry(
    string Name,
    string? Project,
    string? Arguments,
    bool IsService,
    IReadOnlyList<TopologyBinding> Bindings,
    IReadOnlyList<KeyValuePair<string, string>> Environment)
{
    /// <summary>The database, and the role that owns it.</summary>
    public string Database => Name.Replace('-', '_');

    /// <summary>Folder of the built program.</summary>
    public string OutputFolder(string root, string configuration) =>
        Path.Combine(root, Path.GetDirectoryName(Project!)!, "bin", configuration, "net10.0");

    /// <summary>The built program as a command line, or null when it is not built.</summary>
    public IReadOnlyList<string>? Command(string root, string configuration)
    {
        var program = Path.Combine(OutputFolder(root, configuration), Path.GetFileNameWithoutExtension(Project!));
        if (File.Exists(program))
            return [program];
        return File.Exists(program + ".dll") ? ["dotnet", program + ".dll"] : null;
    }
}

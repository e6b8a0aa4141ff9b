using System.Text.Json.Nodes;
using Crm.Runner;
using Crm.Runner.Backups;
using Crm.Runner.Commands;
using Crm.Testing;

namespace Durability.Tests;

/// <summary>
/// An installation that skipped releases. <c>releases/</c> has backups of earlier ones, each with what its API answered then;
/// <c>releases/README.md</c> says how one is added.
/// </summary>
public sealed class OldReleaseTests
{
    private static readonly string Releases = Path.Combine(AppContext.BaseDirectory, "releases");

    /// <summary>What a merge and its undo change, what goes by the time of the answer or by settings, and places in lists.</summary>
    private static readonly HashSet<string> Passing = ["version", "updated_at", "as_of", "overdue", "undo_until", "next_cursor"];

    /// <summary>A release is kept for longer than a merge can be undone, and than a buyer may stay away.</summary>
    private static readonly Dictionary<string, string> Timeless = new() { ["contacts:Merges__UndoDays"] = "36500", ["contacts:Lifecycle__LapseDays"] = "36500" };

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public static TheoryData<string> Names => [.. Directory.EnumerateDirectories(Releases).Select(d => Path.GetFileName(d)!).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task What_an_old_release_has_stored_is_there_under_this_one_and_its_merges_can_be_undone(string release)
    {
        var folder = Path.Combine(Releases, release);
        var then = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(folder, KeepReleaseCommand.Answers), Ct))!;
        var topology = Topology.Load(Topology.FindRoot());
        await using var platform = new Crm.Runner.Platform(new PlatformOptions
        {
            Topology = topology, Folder = Reaper.TemporaryFolder("release"), Ports = PortMap.Free(topology), EndWithCaller = true, Durable = false, Environment = Timeless, Servers = await TestServers.GetAsync(),
        });
        await platform.StartServersAsync(Ct);
        await Restore.RunAsync(platform, folder, overwrite: true, (_, _) => { }, Ct);
        await platform.StartServicesAsync(Ct);
        using var api = platform.CreateClient("admin");

        await RequireAsync(then["answers"]!, api);

        // A merge of then is undone now, and both are what they were.
        await JsonCalls.OkAsync(api.PostAsync($"v1/merges/{then["merge"]}/undo", """{"reason":"two persons"}""", Ct));
        await Eventually.GetAsync(() => api.CallAsync($"v1/merges/{then["merge"]}", Ct), m => (string?)m["status"] == "undone", TimeSpan.FromMinutes(2), Ct);
        await RequireAsync(then["before"]!, api);
    }

    /// <summary>All that was answered is answered still; more may be.</summary>
    private static async Task RequireAsync(JsonNode answers, HttpClient api)
    {
        var differences = new List<string>();
        foreach (var (path, then) in answers.AsObject())
        {
            var now = await api.CallAsync(path, Ct);
            Assert.True((int)now.Status == 200, $"{path} {now}");
            differences.AddRange(Differences(path, then, now.Body));
        }

        Assert.True(differences.Count == 0, string.Join('\n', differences.Take(50)));
    }

    private static IEnumerable<string> Differences(string path, JsonNode? then, JsonNode? now) => (then, now) switch
    {
        (JsonObject wanted, JsonObject shown) => wanted.Where(m => !Passing.Contains(m.Key)).SelectMany(m => Differences($"{path} {m.Key}", m.Value, shown[m.Key])),
        (JsonArray wanted, JsonArray shown) when path.EndsWith(" changes", StringComparison.Ordinal) => Differences(path, ByField(wanted), ByField(shown)),
        (JsonArray wanted, JsonArray shown) when wanted.Count == shown.Count => wanted.Zip(shown).SelectMany((pair, i) => Differences($"{path} {i}", pair.First, pair.Second)),
        _ when JsonNode.DeepEquals(then, now) => [],
        _ => [$"{path}: {then?.ToJsonString()} was, {now?.ToJsonString()} is"],
    };

    /// <summary>The changes of an entry of the history. Attributes, one change earlier, are changes of their own.</summary>
    private static JsonObject ByField(JsonArray changes) => new(changes.SelectMany(change => change!["new"] is JsonObject attributes && (string?)change["field"] == "attributes"
        ? attributes.Select(a => KeyValuePair.Create($"attributes.{a.Key}", (JsonNode?)new JsonObject { ["old"] = change["old"]?[a.Key]?.DeepClone(), ["new"] = a.Value?.DeepClone() }))
        : [KeyValuePair.Create((string)change["field"]!, (JsonNode?)new JsonObject { ["old"] = change["old"]?.DeepClone(), ["new"] = change["new"]?.DeepClone() })]));
}

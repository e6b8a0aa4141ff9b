using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Runner.Backups;

namespace Crm.Runner.Commands;

/// <summary>
/// Keeps what runs here, filled by ./crm demo, as a release that all later ones have to take over: a backup, after a merge that
/// stands and one that was undone, and what the API answers. The tests restore it under the programs of their day.
/// </summary>
internal static class KeepReleaseCommand
{
    public const string Answers = "answers.json";

    private static readonly string[] OfCustomer = ["", "/timeline?limit=20", "/consents", "/history?limit=20", "/account", "/lifecycle"];

    private static readonly string[] Lists = ["customers", "orders", "invoices", "payments", "cases", "interactions", "segments", "campaigns"];

    private static readonly JsonSerializerOptions Written = new() { WriteIndented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        if (args is not [var name] || name.StartsWith('-'))
            throw new RunnerException("keep-release needs a folder.", "Write: ./crm keep-release tests/Durability.Tests/releases/<version>, after ./crm up and ./crm demo");
        var folder = Path.GetFullPath(name);
        // The backup would say so too, but after merges that cannot be made again.
        if (Path.Exists(folder))
            throw new RunnerException($"{folder} is there already.", "Name a new folder.");
        var root = Topology.FindRoot();
        using var installation = Installation.Open(root);
        using var api = ApiClient.OfInstallation(installation);
        var customers = await Task.WhenAll(Enumerable.Range(1, 6).Select(async n => (string)(await ReadAsync(api, $"v1/customers/by-external-id/demo/{n}", ct))["id"]!));

        var kept = new JsonObject { ["before"] = new JsonObject(), ["answers"] = new JsonObject() };
        foreach (var customer in customers[..2])
            await KeepAsync(api, kept["before"]!, $"v1/customers/{customer}", ct);
        var stands = await MergeAsync(api, customers[0], customers[1], ct);
        var undone = await MergeAsync(api, customers[2], customers[3], ct);
        await api.PostAsync($"v1/merges/{undone}/undo", new { reason = "two persons" }, $"undo-{undone}", ct);
        await WaitAsync(api, undone, "undone", ct);
        kept["merge"] = stands;

        foreach (var path in customers.Except([customers[1]]).SelectMany(c => OfCustomer.Select(part => $"v1/customers/{c}{part}"))
            .Concat(Lists.Select(list => $"v1/{list}?limit=20")).Concat([$"v1/merges/{stands}", $"v1/merges/{undone}"]))
            await KeepAsync(api, kept["answers"]!, path, ct);

        var progress = new Progress();
        await Backup.TakeAsync(await InstalledServers.OpenAsync(root, installation, progress.Step, ct), folder, progress.Step, ct);
        await File.WriteAllTextAsync(Path.Combine(folder, Answers), kept.ToJsonString(Written), ct);
        Console.WriteLine($"{folder}: {kept["answers"]!.AsObject().Count} answers beside the backup");
        return 0;
    }

    private static async Task<string> MergeAsync(ApiClient api, string survivor, string absorbed, CancellationToken ct)
    {
        var preview = await api.PostAsync("v1/merge-previews", new { customer_ids = new[] { absorbed }, survivor_id = survivor }, $"preview-{absorbed}", ct);
        var merge = await api.PostAsync("v1/merges", new { token = preview.GetProperty("token").GetString(), reason = "one person" }, $"merge-{absorbed}", ct);
        var id = merge.GetProperty("id").GetString()!;
        await WaitAsync(api, id, "completed", ct);
        return id;
    }

    private static async Task WaitAsync(ApiClient api, string merge, string status, CancellationToken ct)
    {
        for (var i = 0; (string?)(await ReadAsync(api, $"v1/merges/{merge}", ct))["status"] != status; i++)
        {
            if (i == 240)
                throw new RunnerException($"{merge} is not {status} after two minutes.", "Look at GET /v1/merges/{id} for what is missing.");
            await Task.Delay(500, ct);
        }
    }

    private static async Task KeepAsync(ApiClient api, JsonNode kept, string path, CancellationToken ct) => kept[path] = await ReadAsync(api, path, ct);

    private static async Task<JsonNode> ReadAsync(ApiClient api, string path, CancellationToken ct) => JsonNode.Parse((await api.GetAsync(path, ct)).GetRawText())!;
}

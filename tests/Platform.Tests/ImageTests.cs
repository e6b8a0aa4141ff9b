using System.Text.Json;
using Crm.Runner;
using Crm.Runner.Images;
using Crm.Testing;

namespace Platform.Tests;

public sealed class ImageTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_six_images_run_hardened_and_a_customer_goes_through_all_of_them()
    {
        var (containers, reason) = await ServiceContainers.FindAsync(Topology.FindRoot(), ct: Ct);
        Assert.SkipWhen(containers is null, reason);
        await using var platform = await Crm.Runner.Platform.StartAsync("images", containers: containers, servers: await TestServers.GetAsync(), ct: Ct);

        Assert.Empty((await containers!.CheckAsync([.. platform.Services.Keys], Ct)).Problems);
        Assert.Empty(await EndToEndCheck.RunAsync(platform, Ct));
    }

    [Fact]
    public async Task The_list_of_parts_of_an_image_has_every_package_that_the_program_loads_with_version_hash_and_licence()
    {
        var topology = Topology.Load(Topology.FindRoot());
        foreach (var service in topology.Services)
        {
            var project = Path.GetDirectoryName(Path.Combine(topology.Root, service.Project!))!;
            var file = Path.GetTempFileName();
            await Sbom.WriteAsync(file, "crm-" + service.Name, "test", Path.Combine(project, "obj", "project.assets.json"), new BaseImage("base", null), Ct);
            var parts = JsonElement.Parse(await File.ReadAllTextAsync(file, Ct)).GetProperty("components").EnumerateArray().Where(c => c.TryGetProperty("purl", out _)).ToList();
            File.Delete(file);

            // What the build, not restore, says that the program consists of.
            var configuration = AppContext.BaseDirectory.Contains("/bin/Debug/", StringComparison.Ordinal) ? "Debug" : "Release";
            var loaded = JsonElement.Parse(await File.ReadAllTextAsync(Directory.GetFiles(service.OutputFolder(topology.Root, configuration), "*.deps.json").Single(), Ct))
                .GetProperty("libraries").EnumerateObject().Where(l => l.Value.GetProperty("type").GetString() == "package").Select(l => l.Name).Order();
            Assert.Equal(loaded, parts.Select(p => $"{p.GetProperty("name").GetString()}/{p.GetProperty("version").GetString()}").Order());
            Assert.All(parts, p => Assert.True(p.TryGetProperty("licenses", out _) && p.GetProperty("hashes")[0].GetProperty("content").GetString()!.Length == 128, p.ToString()));
        }
    }
}

using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

namespace Kubernetes.Tests;

/// <summary>
/// The one operation of a registry that gives a digest (OCI distribution specification: HEAD of a manifest), for whoever brings
/// a token of the repository. It has every image, each with a digest of its own, but those that are taken away.
/// </summary>
internal sealed class StandInRegistry : IAsyncDisposable
{
    private const string Index = "application/vnd.oci.image.index.v1+json";

    private readonly WebApplication _app;

    private StandInRegistry(WebApplication app) => _app = app;

    /// <summary>Such as <c>127.0.0.1:40123</c>.</summary>
    public string Host => new Uri(_app.Urls.First()).Authority;

    /// <summary>How often each image (name:tag) was answered with its digest.</summary>
    public ConcurrentDictionary<string, int> Answered { get; } = new(StringComparer.Ordinal);

    public ConcurrentDictionary<string, byte> TakenAway { get; } = new(StringComparer.Ordinal);

    public static string DigestOf(string image) => "sha256:" + Hash(image);

    public static async Task<StandInRegistry> StartAsync(CancellationToken ct)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var registry = new StandInRegistry(builder.Build());
        registry._app.MapGet("/token", (string service, string scope) => service == "stand-in"
            ? Results.Text($"{{\n  \"token\": \"{Hash(scope)}\",\n  \"expires_in\": 300\n}}\n", "application/json") : Results.BadRequest());
        registry._app.MapMethods("/v2/{**path}", ["HEAD"], registry.Answer);
        await registry._app.StartAsync(ct);
        return registry;
    }

    /// <summary>Every image in the files of a folder is from here afterwards, under its old name: a mirror.</summary>
    public async Task MirrorAsync(string folder, CancellationToken ct)
    {
        foreach (var file in Directory.EnumerateFiles(folder, "*.yaml", SearchOption.AllDirectories))
        {
            var text = await File.ReadAllTextAsync(file, ct);
            foreach (var name in new[] { "localhost:5000", "registry.example.com", "docker.io", "ghcr.io" })
            {
                text = text.Replace($"newName: {name}/", $"newName: {Host}/{name.Replace(':', '-')}/", StringComparison.Ordinal)
                    .Replace($"image: {name}/", $"image: {Host}/{name}/", StringComparison.Ordinal)
                    .Replace($"imageName: {name}/", $"imageName: {Host}/{name}/", StringComparison.Ordinal);
            }

            await File.WriteAllTextAsync(file, text, ct);
        }
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private IResult Answer(string path, HttpContext http)
    {
        var (name, tag) = path.Split("/manifests/") is [var first, var second] ? (first, second) : throw new BadHttpRequestException(path);
        if (http.Request.Headers.Authorization != $"Bearer {Hash($"repository:{name}:pull")}")
        {
            http.Response.Headers.WWWAuthenticate = $"Bearer realm=\"http://{Host}/token\",service=\"stand-in\",scope=\"repository:{name}:pull\"";
            return Results.Unauthorized();
        }

        // A registry answers with the manifest of one platform when nobody asks for the index of all.
        if (TakenAway.ContainsKey($"{name}:{tag}") || !http.Request.Headers.Accept.ToString().Contains(Index, StringComparison.Ordinal))
        {
            return Results.NotFound();
        }

        Answered.AddOrUpdate($"{name}:{tag}", 1, (_, before) => before + 1);
        http.Response.Headers["Docker-Content-Digest"] = DigestOf($"{name}:{tag}");
        http.Response.ContentType = Index;
        return Results.Empty;
    }

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}

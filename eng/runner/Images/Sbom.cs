using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Xml.Linq;

namespace Crm.Runner.Images;

/// <summary>
/// A CycloneDX 1.5 document (ecma-424) of an image: the packages that restore resolved for the program and that are copied
/// into it, with version, licence and hash; the runtime; Debian's packages where the base was made from them. The same
/// sources give the same document: it has no time in it.
/// </summary>
internal static class Sbom
{
    private static readonly JsonSerializerOptions Json = new() { WriteIndented = true };

    /// <param name="assets">project.assets.json of the program.</param>
    public static async Task WriteAsync(string file, string image, string tag, string assets, BaseImage baseImage, CancellationToken ct)
    {
        using var document = JsonDocument.Parse(await File.ReadAllTextAsync(assets, ct));
        var restored = document.RootElement;
        var target = restored.GetProperty("targets").EnumerateObject().First().Value;
        var packages = target.EnumerateObject().Where(IsCopied).ToDictionary(l => l.Name[..l.Name.IndexOf('/', StringComparison.Ordinal)], l => l, StringComparer.OrdinalIgnoreCase);
        var folders = restored.GetProperty("packageFolders").EnumerateObject().Select(f => f.Name).ToList();

        var components = new List<JsonObject>();
        var dependencies = new List<JsonObject>();
        foreach (var package in packages.Values.OrderBy(p => p.Name, StringComparer.Ordinal))
        {
            components.Add(Component(package.Name, restored.GetProperty("libraries").GetProperty(package.Name), folders));
            var on = package.Value.TryGetProperty("dependencies", out var names)
                ? names.EnumerateObject().Where(d => packages.ContainsKey(d.Name)).Select(d => Reference(packages[d.Name].Name)).Order(StringComparer.Ordinal)
                : Enumerable.Empty<string>();
            dependencies.Add(new JsonObject { ["ref"] = Reference(package.Name), ["dependsOn"] = new JsonArray([.. on.Select(r => (JsonNode)r)]) });
        }

        components.Add(new JsonObject { ["type"] = "container", ["bom-ref"] = baseImage.Name, ["name"] = baseImage.Name, ["description"] = "Base image, with the .NET runtime" });
        if (baseImage.PackagesFile is { } debian)
            components.AddRange(File.ReadLines(debian).Select(DebianPackage.FromLine).Select(Component));

        var self = $"{image}@{tag}";
        dependencies.Insert(0, new JsonObject { ["ref"] = self, ["dependsOn"] = new JsonArray([.. components.Select(c => (JsonNode)c["bom-ref"]!.GetValue<string>())]) });
        var contents = new JsonArray([.. components]);
        var bom = new JsonObject
        {
            ["bomFormat"] = "CycloneDX",
            ["specVersion"] = "1.5",
            ["serialNumber"] = "urn:uuid:" + new Guid(SHA256.HashData(Encoding.UTF8.GetBytes(self + contents.ToJsonString())).AsSpan(0, 16)),
            ["version"] = 1,
            ["metadata"] = new JsonObject { ["component"] = new JsonObject { ["type"] = "container", ["bom-ref"] = self, ["name"] = image, ["version"] = tag } },
            ["components"] = contents,
            ["dependencies"] = new JsonArray([.. dependencies]),
        };
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        await File.WriteAllTextAsync(file, bom.ToJsonString(Json) + "\n", ct);
    }

    /// <summary>Analyzers and build tools leave nothing in the image.</summary>
    private static bool IsCopied(JsonProperty library) =>
        ((string[])["runtime", "runtimeTargets", "native", "resource"]).Any(kind =>
            library.Value.TryGetProperty(kind, out var files) && files.EnumerateObject().Any(f => !f.Name.EndsWith("/_._", StringComparison.Ordinal)));

    private static string Reference(string library) => "pkg:nuget/" + library.Replace('/', '@');

    private static JsonObject Component(string library, JsonElement described, List<string> folders)
    {
        var (name, version) = (library[..library.IndexOf('/', StringComparison.Ordinal)], library[(library.IndexOf('/', StringComparison.Ordinal) + 1)..]);
        var component = new JsonObject { ["type"] = "library", ["bom-ref"] = Reference(library), ["name"] = name, ["version"] = version };
        if (described.GetProperty("type").GetString() != "package")
        {
            // A project of this repository, a stand-in for a package among them.
            component["licenses"] = new JsonArray(new JsonObject { ["expression"] = "MIT" });
            return component;
        }

        component["purl"] = Reference(library);
        component["hashes"] = new JsonArray(new JsonObject
        {
            ["alg"] = "SHA-512",
            ["content"] = Convert.ToHexStringLower(Convert.FromBase64String(described.GetProperty("sha512").GetString()!)),
        });
        var path = described.GetProperty("path").GetString()!;
        var nuspec = folders.Select(f => Path.Combine(f, path)).Where(Directory.Exists).SelectMany(f => Directory.EnumerateFiles(f, "*.nuspec")).FirstOrDefault();
        if (nuspec is not null && LicenceOf(nuspec) is { } licence)
            component["licenses"] = new JsonArray(licence);
        return component;
    }

    private static JsonObject? LicenceOf(string nuspec)
    {
        var metadata = XDocument.Load(nuspec).Root!.Elements().First(e => e.Name.LocalName == "metadata");
        var licence = metadata.Elements().FirstOrDefault(e => e.Name.LocalName == "license");
        if (licence?.Attribute("type")?.Value == "expression")
            return new JsonObject { ["expression"] = licence.Value };
        if (licence is not null)
            return new JsonObject { ["license"] = new JsonObject { ["name"] = $"{licence.Value} in the package" } };
        return metadata.Elements().FirstOrDefault(e => e.Name.LocalName == "licenseUrl")?.Value is { Length: > 0 } url
            ? new JsonObject { ["license"] = new JsonObject { ["name"] = "see the address", ["url"] = url } }
            : null;
    }

    private static JsonObject Component(DebianPackage package)
    {
        var purl = $"pkg:deb/debian/{Uri.EscapeDataString(package.Name)}@{Uri.EscapeDataString(package.Version)}?arch={package.Architecture}";
        var component = new JsonObject { ["type"] = "library", ["bom-ref"] = purl, ["name"] = package.Name, ["version"] = package.Version, ["purl"] = purl };
        if (package.Licences.Count > 0)
            component["licenses"] = new JsonArray([.. package.Licences.Select(l => (JsonNode)new JsonObject { ["license"] = new JsonObject { ["name"] = l } })]);
        return component;
    }
}

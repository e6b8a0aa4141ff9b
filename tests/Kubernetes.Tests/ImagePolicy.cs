using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Kubernetes.Tests;

/// <summary>k8s/admission as Kyverno reads it: rules for pods, patterns with <c>*</c> and <c>|</c> (kyverno.io, "Validate Rules").</summary>
internal sealed class ImagePolicy
{
    private readonly IReadOnlyList<(string Rule, string Pattern)> _patterns;
    private readonly IReadOnlyList<string> _signed;

    private ImagePolicy(JsonNode spec)
    {
        // What does not answer, or only warns, would let everything in.
        Assert.Equal(("Enforce", "Fail"), ((string?)spec["validationFailureAction"], (string?)spec["failurePolicy"]));
        var rules = spec["rules"]!.AsArray().Select(r => r!).ToList();
        var places = rules.Select(r => Assert.Single(r["match"]!["any"]!.AsArray())!["resources"]!).ToList();
        Assert.All(places, p => Assert.Equal(["Pod"], p["kinds"]!.AsArray().Select(k => (string?)k)));
        Assert.All(rules, r => Assert.True(r["exclude"] is null && r["preconditions"] is null, $"{(string?)r["name"]} has exceptions"));
        Assert.All(places, p => Assert.Null(p["namespaces"]));
        _patterns = [.. rules.Where(r => r["validate"] is not null).Select(r => ((string)r["name"]!, PatternOf(r)))];
        var verified = Assert.Single(rules.Where(r => r["verifyImages"] is not null).SelectMany(r => r["verifyImages"]!.AsArray()))!;
        Assert.True((bool?)verified["required"] is true && (bool?)verified["verifyDigest"] is true, "verifyImages is not required, or not of digests");
        // By our key alone: whoever asks the logs of others admits nothing where there is no way to the internet.
        var keys = verified["attestors"]!.AsArray().SelectMany(a => a!["entries"]!.AsArray()).Select(e => e!["keys"]!).ToList();
        Assert.NotEmpty(keys);
        Assert.All(keys, k => Assert.Equal("k8s://kyverno/cosign-public-key", (string?)k["publicKeys"]));
        Assert.True(keys.All(k => (bool?)k["rekor"]?["ignoreTlog"] is true && (bool?)k["ctlog"]?["ignoreSCT"] is true), "verifyImages asks a log");
        _signed = [.. verified["imageReferences"]!.AsArray().Select(r => (string)r!)];
    }

    /// <summary>Of every pod of the namespace that it is applied to.</summary>
    public static async Task<ImagePolicy> LoadAsync(string overlay = "overlays/production") => new(OfImages(await Manifests.OfAsync(overlay))["spec"]!);

    public static JsonObject OfImages(Manifests manifests) => Assert.Single(manifests.Of("Policy"), p => (string?)p["apiVersion"] == "kyverno.io/v1");

    /// <summary>The rule that keeps a pod with this image out, in whichever container; null when it is let in.</summary>
    public string? Refusal(string image) => _patterns.FirstOrDefault(p => !Fits(p.Pattern, image)).Rule;

    public bool IsListed(string image) => Refusal(image) != "listed-registries";

    public bool VerifiesSignature(string image) => _signed.Any(p => Fits(p, image));

    /// <summary>One for all kinds of containers: a way past one of them would be a way past all.</summary>
    private static string PatternOf(JsonNode rule)
    {
        var pod = rule["validate"]!["pattern"]!["spec"]!.AsObject();
        Assert.Equal(["=(ephemeralContainers)", "=(initContainers)", "containers"], pod.Select(c => c.Key).Order(StringComparer.Ordinal));
        return Assert.Single(pod.Select(c => (string)Assert.Single(c.Value!.AsArray())!["image"]!).Distinct());
    }

    private static bool Fits(string pattern, string image) => pattern.Split('|', StringSplitOptions.TrimEntries)
        .Any(p => Regex.IsMatch(image, $"^{Regex.Escape(p).Replace("\\*", ".*", StringComparison.Ordinal)}$", RegexOptions.None, TimeSpan.FromSeconds(10)));
}

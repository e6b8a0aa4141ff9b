using System.Text.Json;
using System.Text.Json.Serialization;
using Crm.Hosting.Web;

namespace Crm.Hosting.Rights;

/// <summary>
/// Whose rows a caller sees: those of customers whose <c>attribute</c> <c>equals</c> a text, or whose record one of the
/// <c>departments</c> owns; and nothing of anybody else, by whatever way it asks.
/// </summary>
public sealed record RowFilter
{
    [Slug]
    public string? Attribute { get; init; }

    [JsonPropertyName("equals"), Line(200)]
    public string? Value { get; init; }

    [AtMost(20)]
    public List<string>? Departments { get; init; }

    /// <summary>What a customer's attributes contain; null when departments are asked for.</summary>
    [JsonIgnore]
    public string? Attributes => Attribute is null ? null : JsonSerializer.Serialize(new Dictionary<string, string?> { [Attribute] = Value });

    /// <summary>As a token carries it.</summary>
    public string ToClaim() => JsonSerializer.Serialize(this, JsonDefaults.Options);

    public static RowFilter OfClaim(string claim) => JsonSerializer.Deserialize<RowFilter>(claim, JsonDefaults.Options)!;
}

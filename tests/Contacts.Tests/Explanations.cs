using System.Text.Json.Nodes;

namespace Contacts.Tests;

/// <summary>What a suspicion says of itself.</summary>
internal static class Explanations
{
    /// <summary>
    /// The evidence of the fields adds up to the weight of the whole. Both are given to two decimals, so each field and the sum
    /// may be half a hundredth away from what was computed.
    /// </summary>
    public static void AddUp(JsonNode suspicion)
    {
        var fields = suspicion["fields"]!.AsArray();
        Assert.Equal((double)suspicion["weight"]!, fields.Sum(f => (double)f!["weight"]!), ((fields.Count + 1) * 0.005) + 1e-9);
    }
}

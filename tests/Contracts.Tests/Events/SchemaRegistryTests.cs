using System.Text.Json;
using System.Text.Json.Nodes;
using Contracts.Tests.Grpc;
using Crm.Contracts.Events;

namespace Contracts.Tests.Events;

/// <summary>
/// <c>contracts/schemas</c> has the schema of each version of each event. A version is only ever extended by optional
/// properties: anything else is a v2 beside it, for which the registry has a file of its own.
/// </summary>
public sealed class SchemaRegistryTests
{
    private static readonly string Folder = Path.Combine(Repository.Root, "contracts", "schemas");
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    [Theory]
    [MemberData(nameof(GoldenEventsTests.Names), MemberType = typeof(GoldenEventsTests))]
    public void The_registry_has_the_schema_of_an_event_s_type_and_takes_no_change_that_breaks_a_reader(string name)
    {
        var (file, now) = (Path.Combine(Folder, $"{name}.json"), EventSchema.Of(EventCatalog.Of(name)));
        if (File.Exists(file))
        {
            // Also of one that is to be written anew.
            Assert.Empty(EventSchema.Breaks(JsonNode.Parse(File.ReadAllText(file))!.AsObject(), now));
        }

        Generated.Check(file, now.ToJsonString(Indented).ReplaceLineEndings("\n") + "\n");
    }

    [Fact]
    public void Every_schema_is_of_an_event_in_the_catalogue() =>
        Assert.Empty(Directory.CreateDirectory(Folder).EnumerateFiles().Select(f => f.Name).Except(EventCatalog.All.Select(r => $"{r.Name}.json")));

    [Theory]
    [MemberData(nameof(GoldenEventsTests.Names), MemberType = typeof(GoldenEventsTests))]
    public void A_golden_event_is_as_its_schema_says(string name)
    {
        var golden = JsonNode.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Events", "events.golden.json")))!;
        Assert.Empty(EventSchema.Problems(EventSchema.Of(EventCatalog.Of(name)), golden[name]));
    }

    [Theory]
    [InlineData("\"note\":", "\"more\":{\"type\":\"string\"},\"note\":", null)]
    [InlineData("\"sku\":", "\"size\":{\"type\":\"integer\"},\"sku\":", null)]
    [InlineData("\"id\":", "\"key\":", "/id is gone")]
    [InlineData("\"sku\":", "\"article\":", "/lines/*/sku is gone")]
    [InlineData("""{"type":"string"}""", """{"type":"integer"}""", "/id: type was \"string\" and is \"integer\"")]
    [InlineData("""["string","null"]""", "\"string\"", "/note: type was [\"string\",\"null\"] and is \"string\"")]
    [InlineData("""["id","lines"]""", """["id","lines","note"]""", "/note is required now")]
    [InlineData("""["id","lines"]""", """["id"]""", "/lines may be missing now")]
    [InlineData("\"items\":", "\"contains\":", "/lines/*: was {\"type\":\"object\"")]
    public void Only_further_optional_properties_break_nobody(string part, string becomes, string? broken)
    {
        const string Before = """
            {"type":"object","properties":{"id":{"type":"string"},"lines":{"type":"array","items":{"type":"object","properties":{"sku":{"type":["string","number"]}},"required":[]}},"note":{"type":["string","null"],"default":null}},"required":["id","lines"]}
            """;
        var after = Before.Replace(part, becomes, StringComparison.Ordinal);
        Assert.NotEqual(Before, after);
        var breaks = EventSchema.Breaks(JsonNode.Parse(Before)!.AsObject(), JsonNode.Parse(after)!.AsObject()).ToList();
        if (broken is null)
        {
            Assert.Empty(breaks);
        }
        else
        {
            Assert.StartsWith(broken, breaks[0], StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("""{"customer":{"id":"cus_1"}}""", "/customer/version is missing")]
    [InlineData("""{"customer":null,"changed":[]}""", "/customer is of type null")]
    [InlineData("""{"changed":["name",1]}""", "/changed/1 is of type integer")]
    [InlineData("""{"changes":[]}""", "/changes is not in the schema")]
    public void A_message_that_is_not_as_its_schema_says_is_found_out(string message, string problem) =>
        Assert.Contains(problem, EventSchema.Problems(EventSchema.Of(EventCatalog.Of(typeof(CustomerUpdated))), JsonNode.Parse(message)));
}

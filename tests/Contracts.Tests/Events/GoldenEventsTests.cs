using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contracts.Events;
using Crm.Hosting;

namespace Contracts.Tests.Events;

/// <summary>
/// What is on the wire may only grow. A failing test here means that a consumer of yesterday would no longer understand
/// today's event: add a field instead, or a v2 beside it; the golden file is changed only by adding.
/// </summary>
public sealed class GoldenEventsTests
{
    private static readonly JsonObject Golden = JsonNode.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Events", "events.golden.json")))!.AsObject();

    public static TheoryData<string> Names => [.. EventCatalog.All.Select(r => r.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void An_event_is_written_as_its_golden_JSON(string name)
    {
        var golden = Assert.IsType<JsonObject>(Golden[name]);
        var route = EventCatalog.Of(name);
        var read = JsonSerializer.Deserialize(golden, route.Type, EventJson.Options);
        var written = JsonSerializer.SerializeToNode(read, route.Type, EventJson.Options);
        Assert.True(JsonNode.DeepEquals(golden, written), $"{name} is written as {written!.ToJsonString()}");
    }

    [Fact]
    public void Every_golden_event_is_still_in_the_catalogue_under_its_name() =>
        Assert.Equal(Golden.Select(g => g.Key).Order(), EventCatalog.All.Select(r => r.Name).Order());

    [Fact]
    public void Exchange_and_queues_are_named_by_the_rule()
    {
        Assert.All(EventCatalog.All, r => Assert.Equal($"crm.{r.Name}", r.Exchange));
        Assert.All(EventCatalog.All.SelectMany(r => r.Queues), q => Assert.Matches(@"^crm\.[a-z-]+\.[a-z-]+$", q));
    }
}

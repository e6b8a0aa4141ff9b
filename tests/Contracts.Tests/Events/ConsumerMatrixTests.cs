using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text;
using Contracts.Tests.Grpc;
using Crm.Contracts.Events;
using Crm.Hosting.Messaging;
using Crm.Runner;
using MassTransit;

namespace Contracts.Tests.Events;

/// <summary>
/// Who publishes which version of an event, and who reads it. The catalogue says it; that consumers are those of the
/// catalogue is required by each service when it starts, that publishers are is read from the built programs here.
/// </summary>
public sealed class ConsumerMatrixTests
{
    private static readonly Topology Platform = Topology.Load(Repository.Root);

    public static TheoryData<string> Publishers => [.. EventCatalog.All.Select(r => r.Publisher).Distinct()];

    [Fact]
    public void The_documentation_has_the_matrix() => Generated.Check(Path.Combine(Repository.Root, "docs", "events.md"), Page());

    [Theory]
    [MemberData(nameof(Publishers))]
    public void A_service_makes_every_event_that_others_expect_of_it(string service)
    {
        var made = Directory.EnumerateFiles(Platform[service].OutputFolder(Repository.Root, "Release"), "Crm.*.dll").SelectMany(EventsMadeIn).ToHashSet(StringComparer.Ordinal);
        Assert.Empty(EventCatalog.PublishedBy(service).Where(r => !made.Contains(r.Type.Name)).Select(r => $"{service} never makes {r.Name}"));
    }

    [Fact]
    public void Publishers_and_consumers_are_services_of_the_platform() =>
        Assert.Empty(EventCatalog.All.SelectMany(r => r.Queues.Select(q => q.Split('.')[1]).Append(r.Publisher)).Except(Platform.Services.Select(s => s.Name)));

    [Fact]
    public void What_nobody_reads_is_declared_to_be_for_listeners_outside() =>
        Assert.All(EventCatalog.All, r => Assert.Equal(r.Outside, r.Queues.Count == 0));

    [Fact]
    public void A_service_does_not_start_when_its_consumers_are_not_those_of_the_catalogue()
    {
        var consumers = new BusConsumers();
        consumers.Consume<ReadsOrders>("consent-mails");
        var refused = Assert.Throws<InvalidOperationException>(() => consumers.RequireCatalogue("campaigns")).Message;
        Assert.Contains("crm.campaigns.consent-mails reads OrderRecorded, which the catalogue does not list for it", refused, StringComparison.Ordinal);
        Assert.Contains("no consumer of crm.campaigns.consent-mails reads ConsentConfirmationRequested", refused, StringComparison.Ordinal);
        Assert.Contains("no consumer of crm.campaigns.customer-facts reads OrderRecorded", refused, StringComparison.Ordinal);
    }

    private static string Page()
    {
        var page = new StringBuilder("""
            # Events

            Who publishes which event in which version, and which services read it, each from its queue `crm.<service>.<queue>`.
            Made from `contracts/events/EventCatalog.cs` by `eng/contracts.sh`; a service whose consumers read anything else does not
            start. A version leads to its JSON Schema. It only ever gains optional properties: any other change is a further version,
            published beside it until nobody reads the older one.

            | event | version | public name | publisher | consumers |
            |---|---|---|---|---|

            """);
        foreach (var route in EventCatalog.All)
        {
            var dot = route.Name.LastIndexOf('.');
            var consumers = route.Outside ? "none here: for listeners outside" : string.Join(", ", route.Queues.Select(q => q.Split('.')).Select(q => $"{q[1]} `{q[2]}`"));
            page.Append($"| `{route.Name[..dot]}` | [{route.Name[(dot + 1)..]}](../contracts/schemas/{route.Name}.json) | `{route.PublicName}` | {route.Publisher} | {consumers} |\n");
        }

        return page.ToString();
    }

    /// <summary>The events whose constructor a program calls, by the names of their types: consumers only read them.</summary>
    private static List<string> EventsMadeIn(string program)
    {
        using var image = new PEReader(File.OpenRead(program));
        var metadata = image.GetMetadataReader();
        return
        [
            .. metadata.MemberReferences.Select(metadata.GetMemberReference)
                .Where(m => m.Parent.Kind == HandleKind.TypeReference && metadata.StringComparer.Equals(m.Name, ".ctor"))
                .Select(m => metadata.GetTypeReference((TypeReferenceHandle)m.Parent))
                .Where(t => metadata.StringComparer.Equals(t.Namespace, typeof(EventRoute).Namespace!))
                .Select(t => metadata.GetString(t.Name)),
        ];
    }

    private sealed class ReadsOrders : IConsumer<OrderRecorded>
    {
        public Task Consume(ConsumeContext<OrderRecorded> context) => Task.CompletedTask;
    }
}

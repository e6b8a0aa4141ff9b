using System.Text;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Testing;
using RabbitMQ.Client;

namespace Interactions.Tests;

public sealed class DeadLetterTests(InteractionsFixture fixture)
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_poison_message_is_listed_its_neighbour_passes_and_a_replay_tries_it_again()
    {
        var (poison, neighbour) = (Guid.CreateVersion7(), Guid.CreateVersion7());
        await fixture.Bus.PublishAsync(Order("no customer id"), poison, Ct);
        await fixture.Bus.PublishAsync(Order(Ids.Customer.Format(Guid.CreateVersion7())), neighbour, Ct);
        await CountAsync($"SELECT count(*) FROM inbox WHERE message_id = '{neighbour}'", until: 1);
        await CountAsync($"SELECT count(*) FROM dead_letter WHERE message_id = '{poison}' AND origin = '{Queues.InteractionsTimeline}' AND attempts = 8", until: 1);

        var list = await fixture.Platform["interactions"].RunModeAsync(["--dead-letters", "list"], Ct);
        Assert.Equal(0, list.ExitCode);
        var listed = Assert.Single(list.Output.Split('\n'), line => line.Contains(poison.ToString(), StringComparison.Ordinal)).Split('\t')[0];
        var replay = await fixture.Platform["interactions"].RunModeAsync(["--dead-letters", "replay", listed], Ct);
        Assert.Contains("replay asked for 1", replay.Output, StringComparison.Ordinal);
        // Put back it left the list; failing again it is on it anew.
        await CountAsync($"SELECT count(*) FROM dead_letter WHERE message_id = '{poison}' AND id <> '{listed}' AND replay_asked_at IS NULL", until: 1);
    }

    [Fact]
    public async Task Of_many_that_come_together_only_the_poisonous_one_is_listed_and_each_other_counts_once_in_its_newest_version()
    {
        var (poison, customers) = (Guid.CreateVersion7(), Enumerable.Range(0, 100).Select(_ => Guid.CreateVersion7()).ToArray());
        var publishes = customers.SelectMany(id => new[] { 2L, 1L, 3L }.Select(version => (Id: Guid.CreateVersion7(), Event: Registered(Ids.Customer.Format(id), version))))
            .Append((Id: poison, Event: Registered("no customer id", 1))).ToList();
        // Every message twice: the second time it is a redelivery.
        await Task.WhenAll(publishes.Concat(publishes).Select(p => fixture.Bus.PublishAsync(p.Event, p.Id, Ct)));

        var ids = string.Join(',', customers.Select(c => $"'{c}'"));
        await CountAsync($"SELECT count(*) FROM customers WHERE version = 3 AND id IN ({ids})", until: 100);
        await CountAsync($"SELECT count(*) FROM inbox WHERE message_id IN ({string.Join(',', publishes.Select(p => $"'{p.Id}'"))})", until: 300);
        await CountAsync($"SELECT count(*) FROM dead_letter WHERE message_id = '{poison}'", until: 1);
    }

    [Theory]
    [InlineData("not JSON \0 at all")]
    [InlineData("{\"messageType\":[\"urn:message:crm.nobody.reads-this.v1\"],\"message\":{},\"headers\":{}}")]
    public async Task A_message_that_no_consumer_can_read_is_listed_and_its_neighbour_passes(string body)
    {
        var (unreadable, neighbour) = (Guid.CreateVersion7(), Guid.CreateVersion7());
        await using var connection = await new ConnectionFactory { Uri = new Uri(fixture.Platform.BusUri) }.CreateConnectionAsync(Ct);
        await using var channel = await connection.CreateChannelAsync(cancellationToken: Ct);
        await channel.BasicPublishAsync("", Queues.InteractionsTimeline, mandatory: true,
            new BasicProperties { MessageId = unreadable.ToString(), ContentType = "application/vnd.masstransit+json" }, Encoding.UTF8.GetBytes(body), Ct);
        await fixture.Bus.PublishAsync(Order(Ids.Customer.Format(Guid.CreateVersion7())), neighbour, Ct);

        await CountAsync($"SELECT count(*) FROM dead_letter WHERE message_id = '{unreadable}' AND origin = '{Queues.InteractionsTimeline}'", until: 1);
        await CountAsync($"SELECT count(*) FROM inbox WHERE message_id = '{neighbour}'", until: 1);
    }

    private static CustomerRegistered Registered(string id, long version) => new(new(
        id, version, "person", "Ada", "Ada", null, null, null, null, null, "prospect", "standard", null,
        new Dictionary<string, System.Text.Json.JsonElement>(), "active", null, DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch));

    private static OrderRecorded Order(string customerId) => new(
        Ids.Order.Format(Guid.CreateVersion7()), 1, customerId, DateTimeOffset.UnixEpoch, 1, new Money(100, "USD"), "completed");

    private Task<long> CountAsync(string sql, long until) => Eventually.GetAsync(
        async () =>
        {
            await using var command = fixture.Database.CreateCommand(sql);
            return (long)(await command.ExecuteScalarAsync(Ct))!;
        },
        count => count == until,
        TimeSpan.FromSeconds(60),
        Ct);
}

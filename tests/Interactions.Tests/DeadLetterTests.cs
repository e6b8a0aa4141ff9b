using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Testing;

namespace Interactions.Tests;

public sealed class DeadLetterTests(InteractionsFixture fixture)
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_poison_message_is_listed_its_neighbour_passes_and_a_replay_is_accepted()
    {
        var (poison, neighbour) = (Guid.CreateVersion7(), Guid.CreateVersion7());
        await fixture.Bus.PublishAsync(Order("no customer id"), poison, Ct);
        await fixture.Bus.PublishAsync(Order(Ids.Customer.Format(Guid.CreateVersion7())), neighbour, Ct);
        await CountAsync($"SELECT count(*) FROM inbox WHERE message_id = '{neighbour}'", until: 1);
        await CountAsync($"SELECT count(*) FROM dead_letter WHERE message_id = '{poison}' AND origin = '{Queues.InteractionsTimeline}' AND attempts = 8", until: 1);

        var list = await fixture.Platform["interactions"].RunModeAsync(["--dead-letters", "list"], Ct);
        Assert.Equal(0, list.ExitCode);
        Assert.Contains(poison.ToString(), list.Output, StringComparison.Ordinal);
        var replay = await fixture.Platform["interactions"].RunModeAsync(["--dead-letters", "replay", "all"], Ct);
        Assert.Contains("replay asked for 1", replay.Output, StringComparison.Ordinal);
    }

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

using System.Collections.Concurrent;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Testing;
using Npgsql;

[assembly: AssemblyFixture(typeof(Interactions.Tests.InteractionsFixture))]

namespace Interactions.Tests;

/// <summary>Contacts and Interactions as processes; the test stands for the services whose events Interactions receives.</summary>
public sealed class InteractionsFixture() : OneServiceFixture("interactions")
{
    public static readonly DateTimeOffset FilledFrom = new(2026, 3, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>What Interactions has published.</summary>
    public ConcurrentQueue<InteractionLogged> Logged { get; private set; } = null!;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Logged = await Bus.ListenAsync<InteractionLogged>();
    }

    /// <summary>A customer with entries of all types but interactions in turn, each at <see cref="FilledFrom"/> plus the offset of its number n.</summary>
    public async Task<(string Customer, Guid Id)> FilledAsync(int count, string offset)
    {
        var customer = await CustomerAsync();
        Assert.True(Ids.Customer.TryParse(customer, out var id));
        await AddAsync(id, count, offset);
        return (customer, id);
    }

    public async Task AddAsync(Guid customer, int count, string offset)
    {
#pragma warning disable CA2100 // The offset is a constant of the test.
        await using var fill = Database.CreateCommand($"""
            INSERT INTO timeline (type, id, customer_id, origin_customer_id, at, summary, version)
            SELECT (ARRAY['order', 'invoice', 'payment', 'case', 'message', 'interaction'])[1 + n % 6], gen_random_uuid(), $1, $1, $2 + {offset}, 'entry ' || n, 1
            FROM generate_series(0, $3 - 1) AS n
            """);
#pragma warning restore CA2100
        fill.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = customer });
        fill.Parameters.Add(new NpgsqlParameter<DateTimeOffset> { TypedValue = FilledFrom });
        fill.Parameters.Add(new NpgsqlParameter<int> { TypedValue = count });
        await fill.ExecuteNonQueryAsync();
    }

    protected override Task<JsonAnswer> AskForAsync(string customer) => Api.CallAsync($"/v1/customers/{customer}/timeline");
}

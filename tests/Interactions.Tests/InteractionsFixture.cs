using System.Collections.Concurrent;
using System.Net;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Testing;
using Grpc.Core;
using Grpc.Net.Client;
using Npgsql;

[assembly: AssemblyFixture(typeof(Interactions.Tests.InteractionsFixture))]

namespace Interactions.Tests;

/// <summary>Contacts and Interactions as processes; the test stands for the services whose events Interactions receives.</summary>
public sealed class InteractionsFixture : ServicesFixture
{
    public static readonly DateTimeOffset FilledFrom = new(2026, 3, 1, 0, 0, 0, TimeSpan.Zero);

    private GrpcChannel? _channel;

    public HttpClient Api { get; private set; } = null!;

    public HttpClient Contacts { get; private set; } = null!;

    public TestBus Bus { get; private set; } = null!;

    /// <summary>What Interactions has published.</summary>
    public ConcurrentQueue<InteractionLogged> Logged { get; private set; } = null!;

    public NpgsqlDataSource Database { get; private set; } = null!;

    public CallInvoker Grpc => _channel!.CreateCallInvoker();

    protected override IReadOnlyCollection<string> Only => ["contacts", "interactions"];

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Api = CreateClient("interactions");
        Contacts = CreateClient("contacts");
        Bus = await TestBus.StartAsync(Platform.BusUri);
        Logged = await Bus.ListenAsync<InteractionLogged>();
        Database = await DatabaseAsync("interactions");
        _channel = GrpcChannel.ForAddress(Platform["interactions"].GrpcAddress!);
        // The first question to Contacts is slow where the machine is busy, and answered 503 then.
        var nobody = Ids.Customer.Format(Guid.CreateVersion7());
        await Eventually.GetAsync(() => Api.CallAsync($"/v1/customers/{nobody}/timeline"), answer => answer.Status == HttpStatusCode.NotFound, TimeSpan.FromMinutes(1));
    }

    /// <summary>The id of a new customer, whom the service's copy knows.</summary>
    public async Task<string> CustomerAsync()
    {
        var created = await Contacts.PostAsync("/v1/customers", """{"kind":"person","given_name":"Ada","family_name":"Byron"}""");
        Assert.Equal(HttpStatusCode.Created, created.Status);
        var customer = (string)created["id"]!;
        Assert.True(Ids.Customer.TryParse(customer, out var id));
        await Eventually.GetAsync(
            async () =>
            {
                await using var known = Database.CreateCommand("SELECT EXISTS (SELECT 1 FROM customers WHERE id = $1)");
                known.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = id });
                return (bool)(await known.ExecuteScalarAsync())!;
            },
            known => known);
        return customer;
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
            INSERT INTO timeline (type, id, customer_id, at, summary, version)
            SELECT (ARRAY['order', 'invoice', 'payment', 'case', 'message', 'interaction'])[1 + n % 6], gen_random_uuid(), $1, $2 + {offset}, 'entry ' || n, 1
            FROM generate_series(0, $3 - 1) AS n
            """);
#pragma warning restore CA2100
        fill.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = customer });
        fill.Parameters.Add(new NpgsqlParameter<DateTimeOffset> { TypedValue = FilledFrom });
        fill.Parameters.Add(new NpgsqlParameter<int> { TypedValue = count });
        await fill.ExecuteNonQueryAsync();
    }

    public override async ValueTask DisposeAsync()
    {
        _channel?.Dispose();
        if (Bus is not null)
        {
            await Bus.DisposeAsync();
        }

        if (Database is not null)
        {
            await Database.DisposeAsync();
        }

        Api?.Dispose();
        Contacts?.Dispose();
        await base.DisposeAsync();
    }
}

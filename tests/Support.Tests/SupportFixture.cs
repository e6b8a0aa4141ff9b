using System.Collections.Concurrent;
using System.Net;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Testing;
using Grpc.Core;
using Grpc.Net.Client;
using Npgsql;

[assembly: AssemblyFixture(typeof(Support.Tests.SupportFixture))]

namespace Support.Tests;

/// <summary>Contacts and Support as processes.</summary>
public sealed class SupportFixture : ServicesFixture
{
    private GrpcChannel? _channel;

    public HttpClient Api { get; private set; } = null!;

    public HttpClient Contacts { get; private set; } = null!;

    public TestBus Bus { get; private set; } = null!;

    /// <summary>What Support has published.</summary>
    public ConcurrentQueue<CaseChanged> Changes { get; private set; } = null!;

    public NpgsqlDataSource Database { get; private set; } = null!;

    public CallInvoker Grpc => _channel!.CreateCallInvoker();

    protected override IReadOnlyCollection<string> Only => ["contacts", "support"];

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Api = CreateClient("support");
        Contacts = CreateClient("contacts");
        Bus = await TestBus.StartAsync(Platform.BusUri);
        Changes = await Bus.ListenAsync<CaseChanged>();
        Database = await DatabaseAsync("support");
        _channel = GrpcChannel.ForAddress(Platform["support"].GrpcAddress!);
        // The first question to Contacts is slow where the machine is busy, and answered 503 then.
        var question = $$"""{"customer_id":"{{Ids.Customer.Format(Guid.CreateVersion7())}}","type":"question","subject":"Who am I?"}""";
        await Eventually.GetAsync(() => Api.PostAsync("/v1/cases", question), answer => answer.Code == "unknown_customer", TimeSpan.FromMinutes(1));
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

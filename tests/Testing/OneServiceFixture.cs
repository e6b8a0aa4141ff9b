using System.Net;
using Crm.Contracts;
using Grpc.Core;
using Grpc.Net.Client;
using Npgsql;
using Xunit;

namespace Crm.Testing;

/// <summary>Contacts and one service as processes; the test stands for everybody else on the bus.</summary>
public abstract class OneServiceFixture(string service) : ServicesFixture
{
    private GrpcChannel? _channel;

    /// <summary>Besides Contacts.</summary>
    public string Service => service;

    public HttpClient Api { get; private set; } = null!;

    public HttpClient Contacts { get; private set; } = null!;

    public TestBus Bus { get; private set; } = null!;

    public NpgsqlDataSource Database { get; private set; } = null!;

    public CallInvoker Grpc => _channel!.CreateCallInvoker();

    protected override IReadOnlyCollection<string> Only => ["contacts", service];

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Api = CreateClient(service);
        Contacts = CreateClient("contacts");
        Bus = await TestBus.StartAsync(Platform.BusUri);
        Database = await DatabaseAsync(service);
        _channel = GrpcChannel.ForAddress(Platform[service].GrpcAddress!);
        // The first question to Contacts is slow where the machine is busy, and answered 503 then.
        var nobody = Ids.Customer.Format(Guid.CreateVersion7());
        await Eventually.GetAsync(() => AskForAsync(nobody), answer => answer.Status is HttpStatusCode.NotFound or HttpStatusCode.UnprocessableEntity, TimeSpan.FromMinutes(1));
    }

    /// <summary>The id of a new customer, whom the service's copy knows.</summary>
    public async Task<string> CustomerAsync()
    {
        var created = await Contacts.PostAsync("/v1/customers", $$$"""{"kind":"person","given_name":"Ada","family_name":"Byron {{{Guid.NewGuid():n}}}","source":{"type":"enquiry"}}""");
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

    /// <summary>What a count of the service's rows says.</summary>
    public async Task<long> CountAsync<T>(string sql, T parameter)
    {
#pragma warning disable CA2100 // A constant of the test.
        await using var count = Database.CreateCommand(sql);
#pragma warning restore CA2100
        count.Parameters.Add(new NpgsqlParameter<T> { TypedValue = parameter });
        return (long)(await count.ExecuteScalarAsync())!;
    }

    /// <summary>Waits until the service has handled these messages.</summary>
    public Task InboxHoldsAsync(IEnumerable<Guid> messages)
    {
        Guid[] ids = [.. messages];
        return Eventually.GetAsync(() => CountAsync("SELECT count(*) FROM inbox WHERE message_id = ANY ($1)", ids), held => held == ids.Length, ct: TestContext.Current.CancellationToken);
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
        GC.SuppressFinalize(this);
    }

    /// <summary>A call that makes the service ask Contacts for this customer, who is nobody: 404 or 422.</summary>
    protected abstract Task<JsonAnswer> AskForAsync(string customer);
}

using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Runner;
using Crm.Testing;
using MassTransit;
using Npgsql;

[assembly: AssemblyFixture(typeof(Campaigns.Tests.CampaignsFixture))]

// The classes share one sender and one mail server.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Campaigns.Tests;

/// <summary>
/// Campaigns and Contacts as processes, a mail server that counts, and the bus: facts of services that are not
/// started are published as those publish them, and customers whom Contacts does not know (<see cref="StandInContacts"/>).
/// </summary>
public sealed class CampaignsFixture : ServicesFixture
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    private IBusControl? _bus;
    private NpgsqlDataSource? _database;

    public HttpClient Campaigns { get; private set; } = null!;

    public NpgsqlDataSource Database => _database!;

    /// <summary>Whom Campaigns asks for consents.</summary>
    public StandInContacts Contacts { get; private set; } = null!;

    /// <summary>What other services receive when a mail was sent.</summary>
    public ConcurrentQueue<MessageSent> SentEvents { get; } = new();

    protected override IReadOnlyCollection<string> Only => ["contacts", "campaigns"];

    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>
    {
        // Longer than a busy machine holds up a mail; where a sender dies, the test ends its leases.
        ["campaigns:Smtp__TimeoutSeconds"] = "60",
        ["campaigns:Smtp__LeaseSeconds"] = "120",
        ["campaigns:Peers__Contacts"] = Contacts.Address,
    };

    public override async ValueTask InitializeAsync()
    {
        Contacts = await StandInContacts.StartAsync();
        await base.InitializeAsync();
        Contacts.Forward(Platform["contacts"].GrpcAddress!);
        Campaigns = CreateClient("campaigns");
        _database = await DatabaseAsync("campaigns");
        _bus = Bus.Factory.CreateUsingRabbitMq(bus =>
        {
            bus.Host(new Uri(Platform.BusUri));
            bus.MessageTopology.SetEntityNameFormatter(new ExchangeNames());
            bus.ReceiveEndpoint("crm.test.messages-sent", endpoint => endpoint.Handler<MessageSent>(context =>
            {
                SentEvents.Enqueue(context.Message);
                return Task.CompletedTask;
            }));
        });
        await _bus.StartAsync();
        // Which tiers there are comes from Contacts; until then any word is one.
        await UntilAsync(1, "SELECT count(*) FROM tiers WHERE name = 'gold'");
    }

    public Task PublishAsync<T>(IEnumerable<T> events) where T : class => Task.WhenAll(events.Select(e => _bus!.Publish(e)));

    public Task PublishAsync<T>(params T[] events) where T : class => PublishAsync((IEnumerable<T>)events);

    /// <summary>Waits until a query of Campaigns' own database gives this number.</summary>
    public async Task UntilAsync(long expected, string sql, params object[] parameters)
    {
        var until = DateTime.UtcNow + Limit;
        while (true)
        {
            var found = await NumberAsync(sql, parameters);
            if (found == expected)
            {
                return;
            }

            Assert.True(DateTime.UtcNow < until, $"{sql} gives {found}, not {expected}.");
            await Task.Delay(25);
        }
    }

    public async Task<long> NumberAsync(string sql, params object[] parameters)
    {
        await using var command = _database!.CreateCommand(sql);
        foreach (var parameter in parameters)
        {
            command.Parameters.Add(new NpgsqlParameter { Value = parameter });
        }

        return Convert.ToInt64(await command.ExecuteScalarAsync());
    }

    /// <summary>Customers as Contacts announces them, with consent to marketing by e-mail; waits until they are copied.</summary>
    public async Task RegisterAsync(IReadOnlyCollection<CustomerSnapshot> customers, bool consent = true)
    {
        await PublishAsync(customers.Select(c => new CustomerRegistered(c)));
        if (consent)
        {
            await PublishAsync(customers.Select(c => new ConsentRecorded(c.Id, "email", "marketing", "granted", 1, DateTimeOffset.UtcNow)));
        }

        var ids = customers.Select(c => Key(c.Id)).ToArray();
        await UntilAsync(ids.Length, "SELECT count(*) FROM customers WHERE id = ANY ($1)", ids);
        if (consent)
        {
            await UntilAsync(ids.Length, "SELECT count(*) FROM customer_consents WHERE customer_id = ANY ($1)", ids);
        }
    }

    /// <summary>A segment of the customers with this attribute, and a campaign to it; not launched.</summary>
    public async Task<string> DraftAsync(string batch, string subject = "We miss you, {{given_name}}", string text = "Dear {{given_name}}", string? html = null)
    {
        var segment = await PostAsync("/v1/segments", new { name = batch, definition = OfBatch(batch) });
        var template = new Dictionary<string, string?> { ["subject"] = subject, ["text"] = text, ["html"] = html };
        var campaign = await PostAsync("/v1/campaigns", new { name = $"Campaign {batch}", segment_id = (string)segment["id"]!, channel = "email", template });
        return (string)campaign["id"]!;
    }

    public async Task LaunchAsync(string campaign)
    {
        var response = await Campaigns.PostAsync($"/v1/campaigns/{campaign}/launch", null);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
    }

    /// <summary>Waits until nothing is pending.</summary>
    public async Task<JsonNode> CompletedAsync(string campaign, TimeSpan? limit = null)
    {
        var until = DateTime.UtcNow + (limit ?? Limit);
        while (true)
        {
            var results = await GetAsync($"/v1/campaigns/{campaign}/results");
            Assert.Equal((long)results["members"]!, new[] { "sent", "suppressed", "failed", "uncertain", "pending" }.Sum(n => (long)results[n]!));
            if (results["completed_at"] is not null)
            {
                Assert.Equal(0, (long)results["pending"]!);
                return results;
            }

            Assert.True(DateTime.UtcNow < until, $"Not complete: {results}");
            await Task.Delay(50);
        }
    }

    public async Task<JsonNode> GetAsync(string path)
    {
        var response = await Campaigns.GetAsync(path);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return await BodyAsync(response);
    }

    public async Task<JsonNode> PostAsync(string path, object body)
    {
        var response = await Campaigns.PostAsJsonAsync(path, body);
        var text = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, text);
        return JsonNode.Parse(text)!;
    }

    public static async Task<JsonNode> BodyAsync(HttpResponseMessage response) => JsonNode.Parse(await response.Content.ReadAsStringAsync())!;

    public static StringContent Json(string text) => new(text, Encoding.UTF8, "application/json");

    public static object OfBatch(string batch) => new { all = new[] { new Dictionary<string, object> { ["fact"] = "attributes.batch", ["eq"] = batch } } };

    public static Guid Key(string customerId) => Ids.Customer.TryParse(customerId, out var key) ? key : throw new FormatException(customerId);

    public static string NewBatch() => $"b{Guid.NewGuid():n}";

    public static CustomerSnapshot Customer(
        string batch, string? email = null, string given = "Ada", string family = "Byron", string state = "active", string? country = null,
        Dictionary<string, object>? attributes = null) => new(
        Ids.Customer.Format(Guid.CreateVersion7()), 1, "person", $"{given} {family}", given, family, email, country, null, null, "prospect", "standard", null,
        (attributes ?? []).Append(new("batch", batch)).ToDictionary(a => a.Key, a => JsonSerializer.SerializeToElement(a.Value)),
        state, null, DateTimeOffset.UtcNow, DateTimeOffset.UtcNow);

    /// <summary>Customers with an address each.</summary>
    public static List<CustomerSnapshot> Crowd(string batch, int count) =>
        [.. Enumerable.Range(0, count).Select(i => Customer(batch, $"{batch}-{i}@example.com", given: $"Ada{i}"))];

    /// <summary>A mail server that forgets what came before, with this behaviour.</summary>
    public Task<SmtpSink> MailServerAsync(SmtpSinkOptions? options = null) => Platform.ReplaceMailAsync(options ?? new SmtpSinkOptions());

    public override async ValueTask DisposeAsync()
    {
        if (_bus is not null)
        {
            await _bus.StopAsync();
        }

        if (_database is not null)
        {
            await _database.DisposeAsync();
        }

        await base.DisposeAsync();
        if (Contacts is not null)
        {
            await Contacts.DisposeAsync();
        }
    }

    private sealed class ExchangeNames : IEntityNameFormatter
    {
        public string FormatEntityName<T>() => typeof(T).IsDefined(typeof(EventNameAttribute), inherit: false) ? EventCatalog.Of(typeof(T)).Exchange : $"crm.test.{typeof(T).Name}";
    }
}

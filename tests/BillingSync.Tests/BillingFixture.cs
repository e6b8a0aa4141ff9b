using System.Collections.Concurrent;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Contracts.Events;
using Crm.Testing;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;

[assembly: AssemblyFixture(typeof(BillingSync.Tests.BillingFixture))]

namespace BillingSync.Tests;

/// <summary>Contacts and BillingSync as processes, and a queue of the test's own that hears every billing event.</summary>
public sealed class BillingFixture : ServicesFixture
{
    private readonly ConcurrentDictionary<string, ConcurrentBag<JsonNode>> _events = new();
    private IConnection? _bus;

    public HttpClient Contacts { get; private set; } = null!;

    public HttpClient Billing { get; private set; } = null!;

    protected override IReadOnlyCollection<string> Only => ["contacts", "billing-sync"];

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Contacts = CreateClient("contacts");
        Billing = CreateClient("billing-sync");
        _bus = await new ConnectionFactory { Uri = new Uri(Platform.BusUri) }.CreateConnectionAsync();
        var channel = await _bus.CreateChannelAsync();
        var queue = (await channel.QueueDeclareAsync()).QueueName;
        foreach (var route in EventCatalog.PublishedBy("billing-sync"))
        {
            await channel.ExchangeDeclareAsync(route.Exchange, ExchangeType.Fanout, durable: true);
            await channel.QueueBindAsync(queue, route.Exchange, "");
        }

        var consumer = new AsyncEventingBasicConsumer(channel);
        consumer.ReceivedAsync += (_, delivery) =>
        {
            var message = JsonNode.Parse(Encoding.UTF8.GetString(delivery.Body.Span))!["message"]!;
            _events.GetOrAdd((string)message["id"]!, _ => []).Add(message);
            return Task.CompletedTask;
        };
        await channel.BasicConsumeAsync(queue, autoAck: true, consumer);
    }

    public override async ValueTask DisposeAsync()
    {
        if (_bus is not null)
        {
            await _bus.DisposeAsync();
        }

        await base.DisposeAsync();
    }

    /// <summary>A new customer of Contacts; BillingSync may not have heard of them yet.</summary>
    public async Task<string> CreateCustomerAsync()
    {
        var customer = await Contacts.SendJsonAsync(HttpMethod.Post, "/v1/customers", $$"""{"kind":"person","given_name":"Test {{Guid.NewGuid():n}}","source":{"type":"enquiry"} }""", HttpStatusCode.Created);
        return (string)customer["id"]!;
    }

    /// <summary>
    /// What was published about a record, in order of version: waits for as many as expected and then a moment
    /// longer, so that one too many is seen.
    /// </summary>
    public async Task<IReadOnlyList<JsonNode>> EventsOfAsync(string id, int expected)
    {
        await Eventually.GetAsync(() => Task.FromResult(_events.GetOrAdd(id, _ => []).Count), count => count >= expected, ct: TestContext.Current.CancellationToken);
        await Task.Delay(700, TestContext.Current.CancellationToken);
        return [.. _events.GetOrAdd(id, _ => []).OrderBy(e => (long)e["version"]!)];
    }
}

internal static class Http
{
    public static StringContent Json(string text) => new(text, Encoding.UTF8, "application/json");

    public static async Task<JsonNode> BodyAsync(this HttpResponseMessage response) =>
        JsonNode.Parse(await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken))!;

    public static Task<HttpResponseMessage> SendAsync(this HttpClient client, HttpMethod method, string path, string body) =>
        client.SendAsync(new HttpRequestMessage(method, path) { Content = Json(body) }, TestContext.Current.CancellationToken);

    /// <summary>The body of an answer that must have this status.</summary>
    public static async Task<JsonNode> SendJsonAsync(this HttpClient client, HttpMethod method, string path, string body, HttpStatusCode expected)
    {
        var answer = await client.CallAsync(method, path, body, ct: TestContext.Current.CancellationToken);
        Assert.True(answer.Status == expected, $"{method} {path}: {answer}");
        return answer.Body!;
    }

    public static Task<JsonNode> PutAsync(this HttpClient client, string path, string body, HttpStatusCode expected = HttpStatusCode.Created) =>
        client.SendJsonAsync(HttpMethod.Put, path, body, expected);

    public static async Task<JsonNode> GetJsonAsync(this HttpClient client, string path, HttpStatusCode expected = HttpStatusCode.OK)
    {
        var answer = await client.CallAsync(path, TestContext.Current.CancellationToken);
        Assert.True(answer.Status == expected, $"GET {path}: {answer}");
        return answer.Body!;
    }

    /// <summary>A path of an external id that nobody else uses.</summary>
    public static string NewPath(string resource) => $"/v1/{resource}/by-external-id/test/{Guid.NewGuid():n}";

    public static void HasError(JsonNode problem, string code, string pointer, string? errorCode = null)
    {
        Assert.Equal(code, (string?)problem["code"]);
        var error = problem["errors"]!.AsArray().FirstOrDefault(e => (string?)e!["pointer"] == pointer);
        Assert.True(error is not null, $"No error at {pointer}: {problem}");
        if (errorCode is not null)
        {
            Assert.Equal(errorCode, (string?)error["code"]);
        }
    }
}

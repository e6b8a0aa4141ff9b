using System.Collections.Concurrent;
using System.Globalization;
using Crm.Contracts;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Billing = Crm.Contracts.BillingSync.V1;
using Campaign = Crm.Contracts.Campaigns.V1;
using Contact = Crm.Contracts.Contacts.V1;
using Interaction = Crm.Contracts.Interactions.V1;
using SupportV1 = Crm.Contracts.Support.V1;

namespace Gateway.Tests;

/// <summary>Stands where the services are: tells what it was sent over HTTP, and answers the overview over gRPC as a test wishes.</summary>
public sealed class Upstream : IAsyncDisposable
{
    private readonly WebApplication _app;

    private Upstream(int httpPort, int grpcPort)
    {
        HttpPort = httpPort;
        GrpcPort = grpcPort;
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.ListenLocalhost(httpPort, l => l.Protocols = HttpProtocols.Http1);
            kestrel.ListenLocalhost(grpcPort, l => l.Protocols = HttpProtocols.Http2);
        });
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(this);
        _app = builder.Build();
        _app.MapGrpcService<ContactsStub>();
        _app.MapGrpcService<InteractionsStub>();
        _app.MapGrpcService<CampaignsStub>();
        _app.MapGrpcService<BillingStub>();
        _app.MapGrpcService<SupportStub>();
        _app.Map("/v1/interactions/slow", async (HttpContext http) => await Task.Delay(TimeSpan.FromSeconds(30), http.RequestAborted));
        _app.Map("/v1/interactions/abort", (HttpContext http) => http.Abort());
        _app.Map("/v1/interactions/distrust", (HttpContext http) =>
        {
            http.Response.StatusCode = 401;
            http.Response.Headers.WWWAuthenticate = "Bearer";
        });
        _app.Map("/{**rest}", async (HttpContext http) =>
        {
            Seen[http.Request.Path] = true;
            var length = 0;
            var buffer = new byte[8192];
            for (int read; (read = await http.Request.Body.ReadAsync(buffer)) > 0;)
            {
                length += read;
            }

            http.Response.Headers.Server = "upstream";
            http.Response.Headers.ETag = "\"7\"";
            await http.Response.WriteAsJsonAsync(new Echo(
                http.Request.Method, http.Request.Path + http.Request.QueryString, length,
                http.Request.Headers.ToDictionary(h => h.Key, h => h.Value.ToString())));
        });
    }

    public int HttpPort { get; }

    public int GrpcPort { get; }

    /// <summary>Paths that reached a service over HTTP.</summary>
    public ConcurrentDictionary<string, bool> Seen { get; } = new();

    /// <summary>Which service of the overview hangs, by the customer that it is asked for.</summary>
    public ConcurrentDictionary<string, string> Hangs { get; } = new();

    /// <summary>What a service of the overview does before it answers, by its name.</summary>
    public ConcurrentDictionary<string, Func<ServerCallContext, Task>> Behaviour { get; } = new();

    public static async Task<Upstream> StartAsync(int httpPort, int grpcPort)
    {
        var upstream = new Upstream(httpPort, grpcPort);
        await upstream._app.StartAsync();
        return upstream;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private Task BehaveAsync(string service, string customer, ServerCallContext context) =>
        Hangs.TryGetValue(customer, out var hanging) && hanging == service ? Task.Delay(TimeSpan.FromSeconds(20), context.CancellationToken)
        : Behaviour.TryGetValue(service, out var behave) ? behave(context)
        : Task.CompletedTask;

    private static Timestamp At(string text) => Timestamp.FromDateTimeOffset(DateTimeOffset.Parse(text, CultureInfo.InvariantCulture));

    private sealed class ContactsStub(Upstream upstream) : Contact.Contacts.ContactsBase
    {
        public override async Task<Contact.Customer> GetCustomer(Contact.GetCustomerRequest request, ServerCallContext context)
        {
            await upstream.BehaveAsync("contacts", request.Id, context);
            return new()
            {
                Snapshot = new()
                {
                    Id = request.Id, Version = 3, Kind = "person", DisplayName = "Ada Byron", GivenName = "Ada", FamilyName = "Byron", Locale = "en-GB",
                    Lifecycle = "prospect", Tier = "standard", Department = "sales", AttributesJson = """{"newsletter_topic":"maths"}""", State = "active",
                    CreatedAt = At("2026-01-01T00:00:00Z"), UpdatedAt = At("2026-01-02T00:00:00Z"),
                },
                Emails = { new Contact.Email { Address = "ada@example.com", Type = "work", Primary = true } },
                BirthDate = "1815-12-10",
                Entitlements = new Contact.Entitlements { PriorityQueue = true, PriceList = "gold" },
                ExternalIds = { new Contact.ExternalId { System = "shop", Id = "4711" } },
            };
        }
    }

    private sealed class InteractionsStub(Upstream upstream) : Interaction.Interactions.InteractionsBase
    {
        public override async Task<Interaction.CustomerOverview> GetCustomerOverview(Interaction.GetCustomerOverviewRequest request, ServerCallContext context)
        {
            await upstream.BehaveAsync("interactions", request.CustomerId, context);
            return new()
            {
                AsOf = At("2026-02-01T00:00:00Z"),
                Recent = { new Interaction.TimelineEntry { At = At("2026-01-31T00:00:00Z"), Type = "order", Id = "ord_1", Summary = "2 items", Service = "billing-sync" } },
            };
        }
    }

    private sealed class CampaignsStub(Upstream upstream) : Campaign.Campaigns.CampaignsBase
    {
        public override async Task<Campaign.CustomerOverview> GetCustomerOverview(Campaign.GetCustomerOverviewRequest request, ServerCallContext context)
        {
            await upstream.BehaveAsync("campaigns", request.CustomerId, context);
            return new() { AsOf = At("2026-02-01T00:00:00Z"), MessagesSent = 2, Consents = { new Campaign.ConsentState { Channel = "email", Purpose = "marketing", State = "granted" } } };
        }
    }

    private sealed class BillingStub(Upstream upstream) : Billing.BillingSync.BillingSyncBase
    {
        public override async Task<Billing.CustomerOverview> GetCustomerOverview(Billing.GetCustomerOverviewRequest request, ServerCallContext context)
        {
            await upstream.BehaveAsync("billing", request.CustomerId, context);
            return new() { AsOf = At("2026-02-01T00:00:00Z"), Orders = 11, ByCurrency = { new Billing.CurrencyAccount { Currency = "USD", Revenue = 23_900 } } };
        }
    }

    private sealed class SupportStub(Upstream upstream) : SupportV1.Support.SupportBase
    {
        public override async Task<SupportV1.CustomerOverview> GetCustomerOverview(SupportV1.GetCustomerOverviewRequest request, ServerCallContext context)
        {
            await upstream.BehaveAsync("support", request.CustomerId, context);
            return new() { AsOf = At("2026-02-01T00:00:00Z"), OpenCases = 1 };
        }
    }
}

public sealed record Echo(string Method, string Path, int Length, Dictionary<string, string> Headers);

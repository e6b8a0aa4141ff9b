using System.Diagnostics;
using System.Text.Json;
using Crm.Contracts;
using Grpc.Core;

namespace Gateway.Tests;

public sealed class OverviewTests(GatewayFixture gateway) : IDisposable
{
    private static readonly string[] Parts = ["customer", "interactions", "campaigns", "billing", "support"];
    private static readonly string Path = $"v1/customers/{Ids.Customer.Format(Guid.CreateVersion7())}/overview";

    [Fact]
    public async Task All_five_services_answer_in_one()
    {
        using var admin = gateway.Admin();
        var overview = await (await admin.GetAsync(Path)).OkAsync();
        Assert.Equal(Parts, overview.EnumerateObject().Select(p => p.Name));
        Assert.All(Parts, p =>
        {
            Assert.Equal("ok", StatusOf(overview, p));
            Assert.NotEqual(JsonValueKind.Null, overview.GetProperty(p).GetProperty("as_of").ValueKind);
        });
        var customer = overview.GetProperty("customer");
        Assert.Equal("Byron", customer.GetProperty("family_name").GetString());
        var entitlements = customer.GetProperty("entitlements");
        Assert.Equal((true, "gold", JsonValueKind.Null), (entitlements.GetProperty("priority_queue").GetBoolean(), entitlements.GetProperty("price_list").GetString(), entitlements.GetProperty("response_minutes").ValueKind));
        Assert.Equal("ada@example.com", customer.GetProperty("emails")[0].GetProperty("address").GetString());
        Assert.Equal("maths", customer.GetProperty("attributes").GetProperty("newsletter_topic").GetString());
        Assert.Equal(23_900, overview.GetProperty("billing").GetProperty("by_currency")[0].GetProperty("revenue").GetInt64());
    }

    [Fact]
    public async Task A_service_that_hangs_costs_its_deadline_and_its_part()
    {
        using var admin = gateway.Admin();
        await (await admin.GetAsync(Path)).OkAsync();
        // Each hangs for a customer of its own, so the deadline is waited for once and not five times.
        var answers = await Task.WhenAll(Parts.Select(async part =>
        {
            var customer = Ids.Customer.Format(Guid.CreateVersion7());
            gateway.Upstream.Hangs[customer] = part == "customer" ? "contacts" : part;
            var start = Stopwatch.GetTimestamp();
            var overview = await (await admin.GetAsync($"v1/customers/{customer}/overview")).OkAsync();
            return (Part: part, Overview: overview, Took: Stopwatch.GetElapsedTime(start));
        }));
        Assert.All(answers, a =>
        {
            // The deadline is five seconds, and the service would take twenty.
            Assert.InRange(a.Took.TotalSeconds, 4.9, 19.9);
            Assert.Equal(("unavailable", "timeout"), (StatusOf(a.Overview, a.Part), ReasonOf(a.Overview, a.Part)));
            Assert.All(Parts.Where(p => p != a.Part), p => Assert.Equal("ok", StatusOf(a.Overview, p)));
        });
    }

    [Theory]
    [InlineData(StatusCode.Unavailable, "unreachable")]
    [InlineData(StatusCode.Internal, "error")]
    [InlineData(StatusCode.NotFound, "not_found")]
    public async Task Why_a_part_is_missing_is_told(StatusCode status, string reason)
    {
        using var admin = gateway.Admin();
        gateway.Upstream.Behaviour["billing"] = _ => throw new RpcException(new Status(status, "x"));
        var overview = await (await admin.GetAsync(Path)).OkAsync();
        Assert.Equal(("unavailable", reason), (StatusOf(overview, "billing"), ReasonOf(overview, "billing")));
        Assert.Equal("ok", StatusOf(overview, "support"));
    }

    [Fact]
    public async Task An_unknown_customer_is_not_found()
    {
        using var admin = gateway.Admin();
        gateway.Upstream.Behaviour["contacts"] = _ => throw new RpcException(new Status(StatusCode.NotFound, "x"));
        await (await admin.GetAsync(Path)).ProblemAsync(404, "not_found");
        await (await admin.GetAsync("v1/customers/cus_1/overview")).ProblemAsync(404, "not_found");
        await (await admin.GetAsync("v1/customers/ord_00000000000000000000000000/overview")).ProblemAsync(404, "not_found");
    }

    [Fact]
    public async Task A_part_that_the_caller_may_not_read_names_the_scope()
    {
        var (_, secret) = await gateway.CreateKeyAsync([Scopes.CustomersRead, Scopes.CasesRead]);
        using var client = gateway.Client(secret);
        var overview = await (await client.GetAsync(Path)).OkAsync();
        Assert.Equal(("forbidden", "billing:read"), (StatusOf(overview, "billing"), ReasonOf(overview, "billing")));
        Assert.Equal(("forbidden", "campaigns:read"), (StatusOf(overview, "campaigns"), ReasonOf(overview, "campaigns")));
        Assert.Equal("ok", StatusOf(overview, "support"));

        var (_, other) = await gateway.CreateKeyAsync([Scopes.BillingRead]);
        using var without = gateway.Client(other);
        await (await without.GetAsync(Path)).ProblemAsync(403, "insufficient_scope");
    }

    [Fact]
    public async Task A_service_sees_the_callers_token_not_the_gateways_own()
    {
        var (id, secret) = await gateway.CreateKeyAsync([Scopes.CustomersRead]);
        string? authorization = null;
        gateway.Upstream.Behaviour["contacts"] = context =>
        {
            authorization = context.RequestHeaders.GetValue("authorization");
            return Task.CompletedTask;
        };
        using var client = gateway.Client(secret);
        await (await client.GetAsync(Path)).OkAsync();
        Assert.Equal(id, new Microsoft.IdentityModel.JsonWebTokens.JsonWebToken(authorization!["Bearer ".Length..]).Subject);
    }

    public void Dispose() => gateway.Upstream.Behaviour.Clear();

    private static string? StatusOf(JsonElement overview, string part) => overview.GetProperty(part).GetProperty("status").GetString();

    private static string? ReasonOf(JsonElement overview, string part) => overview.GetProperty(part).GetProperty("reason").GetString();
}

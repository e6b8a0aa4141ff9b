using System.Security.Cryptography;
using Crm.Hosting;
using Crm.Hosting.Auth;
using Crm.Testing;
using Grpc.Core;
using Microsoft.Extensions.Options;
using Wire = Crm.Contracts.Contacts.V1;

namespace Contacts.Tests;

public sealed class GrpcTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task A_customer_is_resolved_by_any_identifier()
    {
        var (email, external) = (NewEmail(), Unique());
        var phone = $"+4420{Random.Shared.Next(10_000_000, 99_999_999)}";
        var customer = await CreateAsync($$"""
            {"kind":"person","given_name":"Re","family_name":"Solve","emails":[{"address":"{{email}}"}],"phones":[{"number":"{{phone}}"}],
             "external_ids":[{"system":"shop","id":"{{external}}"}],"source":{"type":"enquiry"} }
            """);
        var requests = new[]
        {
            new Wire.ResolveCustomerRequest { Id = (string)customer["id"]! },
            new Wire.ResolveCustomerRequest { Email = email },
            new Wire.ResolveCustomerRequest { Phone = phone },
            new Wire.ResolveCustomerRequest { ExternalId = new() { System = "shop", Id = external } },
        };
        foreach (var request in requests)
        {
            var resolved = await Grpc().ResolveCustomerAsync(request, AsUser("customers:read"), cancellationToken: Ct);
            Assert.Equal((string)customer["id"]!, resolved.Snapshot.Id);
            Assert.Equal("Re Solve", resolved.Snapshot.DisplayName);
        }
    }

    [Fact]
    public async Task Errors_are_statuses_with_the_code_of_the_problem()
    {
        var missing = await Assert.ThrowsAsync<RpcException>(async () => await Grpc().GetCustomerAsync(new() { Id = "cus_00000000000000000000000000" }, AsUser("customers:read"), cancellationToken: Ct));
        Assert.Equal((StatusCode.NotFound, "not_found"), (missing.StatusCode, missing.Trailers.GetValue("crm-code")));
        var malformed = await Assert.ThrowsAsync<RpcException>(async () => await Grpc().GetCustomerAsync(new() { Id = "1" }, AsUser("customers:read"), cancellationToken: Ct));
        Assert.Equal(StatusCode.InvalidArgument, malformed.StatusCode);
        var anonymous = await Assert.ThrowsAsync<RpcException>(async () => await Grpc().GetCustomerAsync(new() { Id = "1" }, cancellationToken: Ct));
        Assert.Equal(StatusCode.Unauthenticated, anonymous.StatusCode);
        var scopeless = await Assert.ThrowsAsync<RpcException>(async () => await Grpc().GetCustomerAsync(new() { Id = "1" }, AsUser("billing:read"), cancellationToken: Ct));
        Assert.Equal(StatusCode.PermissionDenied, scopeless.StatusCode);
    }

    [Theory, InlineData("support"), InlineData("gateway")]
    public async Task While_a_key_is_replaced_the_old_one_and_the_new_one_are_both_good(string owner)
    {
        var old = await File.ReadAllTextAsync(Path.Combine(Fixture.Platform.Secrets.FolderOf(owner), "Auth__PrivateKey"), Ct);
        using var next = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var known = Path.Combine(Fixture.Platform.Secrets.TrustedKeys, $"{owner}.pem");
        await File.AppendAllTextAsync(known, next.ExportSubjectPublicKeyInfoPem() + "\n", Ct);

        // What either has signed can be verified by anybody.
        var (_, published) = await SendAsync(HttpMethod.Get, "/v1/erasure-receipts/keys");
        Assert.Equal(2, published["keys"]!.AsArray().Count(k => (string?)k!["service"] == owner));

        foreach (var key in (string[])[old, next.ExportPkcs8PrivateKeyPem()])
        {
            using var tokens = new InternalTokens(
                Options.Create(new AuthOptions { PrivateKey = key, TrustedKeys = "", GatewayJwks = new Uri("http://localhost") }), new ServiceName(owner), TimeProvider.System);
            // A key that nobody knows yet is looked for every two seconds.
            var refused = await Eventually.GetAsync(() => RefusedAsync(tokens), refused => refused is null, ct: Ct);
            Assert.Null(refused);
        }

        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var forged = new InternalTokens(
            Options.Create(new AuthOptions { PrivateKey = other.ExportPkcs8PrivateKeyPem(), TrustedKeys = "", GatewayJwks = new Uri("http://localhost") }), new ServiceName(owner), TimeProvider.System);
        Assert.NotNull(await RefusedAsync(forged));

        async Task<StatusCode?> RefusedAsync(InternalTokens tokens)
        {
            var token = owner == "gateway" ? tokens.Mint(new TokenSubject("key_test", ["customers:read"], [], [])).Token : tokens.Own();
            try
            {
                await Grpc().GetCustomerAsync(new() { Id = "cus_00000000000000000000000000" }, new Metadata { { "authorization", $"Bearer {token}" } }, cancellationToken: Ct);
                throw new InvalidOperationException("There is no such customer.");
            }
            catch (RpcException exception)
            {
                return exception.StatusCode is StatusCode.NotFound or StatusCode.PermissionDenied ? null : exception.StatusCode;
            }
        }
    }

    [Fact]
    public async Task Consents_are_asked_for_many_at_once_by_campaigns_alone()
    {
        var (granted, rests, withdrawn, silent) = (await CreatePersonAsync(), await CreatePersonAsync(), await CreatePersonAsync(), await CreatePersonAsync());
        var until = DateTimeOffset.UtcNow.AddDays(2);
        await SayAsync(granted, """{"channel":"email","purpose":"marketing","state":"granted","source":"call"}""");
        await SayAsync(granted, """{"channel":"phone","purpose":"surveys","state":"granted","source":"call"}""");
        await SayAsync(rests, """{"channel":"email","purpose":"marketing","state":"granted","source":"call"}""");
        await SayAsync(rests, $$"""{"channel":"email","purpose":"marketing","state":"paused","paused_until":"{{until:O}}","source":"call"}""");
        await SayAsync(withdrawn, """{"channel":"email","purpose":"marketing","state":"granted","source":"call"}""");
        await SayAsync(withdrawn, """{"channel":"email","purpose":"marketing","state":"withdrawn","source":"call"}""");
        var request = new Wire.AskConsentsRequest { Channel = "email", Purposes = { "marketing", "surveys" } };
        request.CustomerIds.AddRange(new[] { granted, rests, withdrawn, silent }.Select(c => (string)c["id"]!).Append("cus_00000000000000000000000000"));

        using var campaigns = new InternalTokens(
            Options.Create(new AuthOptions
            {
                PrivateKey = await File.ReadAllTextAsync(Path.Combine(Fixture.Platform.Secrets.FolderOf("campaigns"), "Auth__PrivateKey"), Ct),
                TrustedKeys = "",
                GatewayJwks = new Uri("http://localhost"),
            }),
            new ServiceName("campaigns"), TimeProvider.System);
        var own = new Metadata { { "authorization", $"Bearer {campaigns.Own()}" } };
        var answer = (await Grpc().AskConsentsAsync(request, own, cancellationToken: Ct)).Consents.ToDictionary(c => c.CustomerId);
        Assert.Equal(new[] { (string)granted["id"]!, (string)rests["id"]! }.Order(StringComparer.Ordinal), answer.Keys.Order(StringComparer.Ordinal));
        Assert.All(answer.Values, c => Assert.Equal("marketing", c.Purpose));
        Assert.Null(answer[(string)granted["id"]!].PausedUntil);
        Assert.Equal(until, answer[(string)rests["id"]!].PausedUntil.ToDateTimeOffset(), TimeSpan.FromMilliseconds(1));

        var malformed = await Assert.ThrowsAsync<RpcException>(async () => await Grpc().AskConsentsAsync(new() { CustomerIds = { "1" } }, own, cancellationToken: Ct));
        Assert.Equal(StatusCode.InvalidArgument, malformed.StatusCode);
        var user = await Assert.ThrowsAsync<RpcException>(async () => await Grpc().AskConsentsAsync(request, AsUser([.. Crm.Contracts.Scopes.All]), cancellationToken: Ct));
        Assert.Equal(StatusCode.PermissionDenied, user.StatusCode);

        async Task SayAsync(System.Text.Json.Nodes.JsonNode customer, string said)
        {
            var (response, body) = await SendAsync(HttpMethod.Post, $"/v1/customers/{customer["id"]}/consents", said);
            Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        }
    }

    [Fact]
    public async Task No_user_may_stream_all_customers()
    {
        using var stream = Grpc().StreamCustomers(new(), AsUser([.. Crm.Contracts.Scopes.All]), cancellationToken: Ct);
        var refused = await Assert.ThrowsAsync<RpcException>(() => stream.ResponseStream.MoveNext(Ct));
        Assert.Equal(StatusCode.PermissionDenied, refused.StatusCode);
    }
}

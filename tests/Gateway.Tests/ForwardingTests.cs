using System.Diagnostics;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Gateway.Tests;

public sealed class ForwardingTests(GatewayFixture gateway)
{
    [Fact]
    public async Task Of_the_callers_headers_a_service_sees_only_harmless_ones()
    {
        using var admin = gateway.Admin();
        using var request = new HttpRequestMessage(HttpMethod.Post, "v1/customers?a=b") { Content = JsonContent.Create(new { kind = "person" }) };
        foreach (var name in (string[])["X-User", "X_User", "X-Tenant", "X-Role", "X-Roles", "Crm_Scope", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
            "X-Forwarded-Prefix", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "Cookie", "Proxy-Authorization", "X-Api-Key", "Via", "baggage", "Correlation-Context"])
        {
            request.Headers.TryAddWithoutValidation(name, "root=1");
        }

        request.Headers.Add("Idempotency-Key", "k");
        request.Headers.Add("If-Match", "\"3\"");
        var echo = await (await admin.SendAsync(request)).EchoAsync();

        Assert.Equal("POST", echo.Method);
        Assert.Equal("/v1/customers?a=b", echo.Path);
        Assert.Equal(17, echo.Length);
        Assert.Equal("k", echo.Headers["Idempotency-Key"]);
        Assert.Equal("\"3\"", echo.Headers["If-Match"]);
        Assert.StartsWith("application/json", echo.Headers["Content-Type"], StringComparison.Ordinal);
        var allowed = new HashSet<string>(["Accept", "Accept-Encoding", "Authorization", "Content-Length", "Content-Type", "Host", "Idempotency-Key", "If-Match", "traceparent", "tracestate", "Transfer-Encoding", "User-Agent"], StringComparer.OrdinalIgnoreCase);
        Assert.DoesNotContain(echo.Headers.Keys, h => !allowed.Contains(h));
        Assert.DoesNotContain(gateway.AdminKey, string.Join('\n', echo.Headers.Values), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_header_with_other_letters_comes_through_and_an_empty_idempotency_key_is_refused()
    {
        using var admin = gateway.Admin();
        using var request = new HttpRequestMessage(HttpMethod.Post, "v1/customers") { Content = JsonContent.Create(new { kind = "person" }) };
        request.Headers.TryAddWithoutValidation("Idempotency-Key", "schlüssel");
        using var handler = new SocketsHttpHandler { RequestHeaderEncodingSelector = (_, _) => Encoding.UTF8 };
        using var client = new HttpClient(handler) { BaseAddress = admin.BaseAddress };
        client.DefaultRequestHeaders.Authorization = admin.DefaultRequestHeaders.Authorization;
        var echo = await (await client.SendAsync(request)).EchoAsync();
        Assert.Equal("schlüssel", echo.Headers["Idempotency-Key"]);

        using var empty = new HttpRequestMessage(HttpMethod.Post, "v1/customers") { Content = JsonContent.Create(new { kind = "person" }) };
        empty.Headers.TryAddWithoutValidation("Idempotency-Key", "");
        using var refused = await admin.SendAsync(empty);
        Assert.Equal(400, (int)refused.StatusCode);
        Assert.Equal("Idempotency-Key", (await refused.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("errors")[0].GetProperty("pointer").GetString());
    }

    [Fact]
    public async Task A_service_gets_a_token_that_the_published_keys_prove_and_the_same_one_again()
    {
        var (id, secret) = await gateway.CreateKeyAsync(["customers:read"]);
        using var client = gateway.Client(secret);
        var first = (await (await client.GetAsync("v1/customers")).EchoAsync()).Headers["Authorization"];
        var second = (await (await client.GetAsync("v1/customers")).EchoAsync()).Headers["Authorization"];
        Assert.Equal(first, second);

        using var anonymous = gateway.Client(null);
        var keys = new JsonWebKeySet(await anonymous.GetStringAsync(".well-known/jwks.json"));
        var result = await new JsonWebTokenHandler().ValidateTokenAsync(first["Bearer ".Length..], new TokenValidationParameters
        {
            ValidIssuer = "crm:gateway", ValidAudience = "crm", IssuerSigningKeys = keys.GetSigningKeys(), ValidAlgorithms = ["ES256"], ClockSkew = TimeSpan.Zero,
        });
        Assert.True(result.IsValid, result.Exception?.Message);
        Assert.Equal(id, result.Claims["sub"]);
        Assert.Equal("customers:read", result.Claims["scope"]);
        Assert.True(result.SecurityToken.ValidTo - DateTime.UtcNow < TimeSpan.FromMinutes(5));
        Assert.All(keys.Keys, k => Assert.Null(k.D));
    }

    [Fact]
    public async Task The_callers_trace_goes_on()
    {
        using var admin = gateway.Admin();
        using var request = new HttpRequestMessage(HttpMethod.Get, "v1/customers");
        var trace = ActivityTraceId.CreateRandom().ToHexString();
        request.Headers.Add("traceparent", $"00-{trace}-00f067aa0ba902b7-01");
        using var answer = await admin.SendAsync(request);
        var echo = await answer.EchoAsync();
        Assert.Equal(trace, echo.Headers["traceparent"].Split('-')[1]);
        Assert.NotEqual("00f067aa0ba902b7", echo.Headers["traceparent"].Split('-')[2]);
        Assert.Equal(trace, answer.Headers.GetValues("Crm-Trace-Id").Single());
    }

    [Theory]
    [InlineData("v1/customers", true)]
    [InlineData("v1/customers/cus_1/consents", true)]
    [InlineData("v1/customers/cus_1/timeline", true)]
    [InlineData("v1/customers/cus_1/account", true)]
    [InlineData("v1/orders/by-external-id/shop/1", true)]
    [InlineData("v1/segments/seg_1/members", true)]
    [InlineData("v1/nothing", false)]
    [InlineData("v1", false)]
    [InlineData("", false)]
    [InlineData("metrics", false)]
    [InlineData("crm.contacts.v1.Contacts/GetCustomer", false)]
    [InlineData("health/nothing", false)]
    [InlineData("openapi/v2.json", false)]
    public async Task Only_the_routes_of_the_configuration_lead_anywhere(string path, bool known)
    {
        using var admin = gateway.Admin();
        using var answer = await admin.GetAsync(path);
        if (known)
        {
            Assert.Equal("/" + path, (await answer.EchoAsync()).Path);
        }
        else
        {
            await answer.ProblemAsync(404, "not_found");
        }
    }

    [Theory]
    [InlineData("/v1/customers/../../openapi/v9.json")]
    [InlineData("/v1/customers/%2e%2e/%2e%2e/openapi/v9.json")]
    [InlineData("//v1/customers")]
    [InlineData("/V1%2fcustomers")]
    public async Task A_path_cannot_leave_its_route(string path)
    {
        var answer = await RawHttp.SendAsync(gateway.A, $"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.AdminKey}\r\nConnection: close\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 404 ", answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/smuggled HTTP/1.1\r\nHost: x\r\n\r\n")]
    [InlineData("POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x")]
    [InlineData("POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2;x\n{}\r\n0\r\n\r\n")]
    [InlineData("GET /v1/customers HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\nAuthorization: Bearer KEY\r\n\r\n")]
    [InlineData("GET /v1/customers HTTP/1.1\r\nAuthorization: Bearer KEY\r\n\r\n")]
    public async Task What_two_servers_could_read_differently_is_refused(string request)
    {
        var answer = await RawHttp.SendAsync(gateway.A, request.Replace("KEY", gateway.AdminKey, StringComparison.Ordinal));
        var statuses = answer.Split("HTTP/1.1 ").Skip(1).Select(p => p[..3]).ToList();
        Assert.Equal(["400"], statuses);
    }

    [Fact]
    public async Task A_body_over_the_limit_is_refused_before_it_is_read()
    {
        // Of the body one byte is sent, and nothing more comes: who waits for it gives no answer.
        var answer = await RawHttp.SendAsync(gateway.A, $"POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.AdminKey}\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\nConnection: close\r\n\r\n{{");
        Assert.StartsWith("HTTP/1.1 413 ", answer, StringComparison.Ordinal);
        Assert.Contains("\"body_too_large\"", answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("v1/customers")]
    [InlineData("v1/keys")]
    public async Task A_body_without_a_length_is_cut_at_the_limit(string path)
    {
        using var admin = gateway.Admin();
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new ByteArrayContent([.. Enumerable.Repeat((byte)' ', 2_000_000)]) };
        request.Content.Headers.ContentType = new("application/json");
        request.Content.Headers.ContentLength = null;
        request.Headers.TransferEncodingChunked = true;
        using var answer = await admin.SendAsync(request);
        await answer.ProblemAsync(413, "body_too_large");
    }

    [Fact]
    public async Task A_body_of_the_limit_passes()
    {
        using var admin = gateway.Admin();
        using var content = new ByteArrayContent(new byte[1_000_000]);
        content.Headers.ContentType = new("application/json");
        Assert.Equal(1_000_000, (await (await admin.PostAsync("v1/customers", content)).EchoAsync()).Length);
    }

    [Fact]
    public async Task A_file_of_an_import_may_be_larger_and_of_any_type()
    {
        const string Workbook = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
        using var admin = gateway.Admin();
        using var content = new ByteArrayContent(new byte[2_000_000]);
        content.Headers.ContentType = new(Workbook);
        var echo = await (await admin.PostAsync("v1/imports", content)).EchoAsync();
        Assert.Equal(("/v1/imports", 2_000_000, Workbook), (echo.Path, echo.Length, echo.Headers["Content-Type"]));
    }

    [Fact]
    public async Task Headers_over_the_limit_are_refused()
    {
        var answer = await RawHttp.SendAsync(gateway.A, $"GET /v1/customers HTTP/1.1\r\nHost: x\r\nX: {new string('x', 40_000)}\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 431 ", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_service_that_is_away_slow_or_broken_is_a_problem_of_its_kind()
    {
        using var admin = gateway.Admin();
        using var away = await admin.GetAsync("v1/cases");
        Assert.True((await away.ProblemAsync(503, "unavailable")).GetProperty("retryable").GetBoolean());
        Assert.NotNull(away.Headers.RetryAfter);
        await (await admin.GetAsync("v1/interactions/slow")).ProblemAsync(504, "gateway_timeout");
        await (await admin.GetAsync("v1/interactions/abort")).ProblemAsync(502, "bad_gateway");
        using var distrust = await admin.GetAsync("v1/interactions/distrust");
        await distrust.ProblemAsync(503, "unavailable");
        Assert.Empty(distrust.Headers.WwwAuthenticate);
    }

    [Fact]
    public async Task Wrong_methods_and_types_are_problems()
    {
        using var admin = gateway.Admin();
        using var method = await admin.PutAsync("v1/keys", null);
        await method.ProblemAsync(405, "method_not_allowed");
        Assert.Contains("POST", method.Content.Headers.Allow);
        using var text = new StringContent("x", Encoding.UTF8, "text/plain");
        await (await admin.PostAsync("v1/keys", text)).ProblemAsync(415, "unsupported_media_type");
        await (await admin.GetAsync("v1/keys?sort=name")).ProblemAsync(400, "unknown_parameter");
        await (await admin.GetAsync("v1/keys?limit=101")).ProblemAsync(400, "invalid_parameter");
    }

    [Fact]
    public async Task Answers_carry_no_trace_of_the_software_and_allow_no_other_origin()
    {
        using var admin = gateway.Admin();
        using var request = new HttpRequestMessage(HttpMethod.Get, "v1/customers");
        request.Headers.Add("Origin", "https://evil.example");
        using var answer = await admin.SendAsync(request);
        Assert.Empty(answer.Headers.Server);
        Assert.Equal("nosniff", answer.Headers.GetValues("X-Content-Type-Options").Single());
        Assert.False(answer.Headers.Contains("Access-Control-Allow-Origin"));
        Assert.Equal("\"7\"", answer.Headers.ETag?.Tag);
        Assert.False(answer.Headers.Contains("Strict-Transport-Security"));
    }

    [Fact]
    public async Task Every_type_of_problem_leads_to_the_catalogue()
    {
        using var client = gateway.Client(null);
        var all = await (await client.GetAsync("problems")).OkAsync();
        Assert.Equal(Crm.Contracts.ProblemCodes.All.Count, all.GetProperty("data").GetArrayLength());
        using var unknown = await client.GetAsync("v1/nothing");
        var type = (await unknown.ProblemAsync(404, "not_found")).GetProperty("type").GetString();
        Assert.Equal("not_found", (await (await client.GetAsync(type)).OkAsync()).GetProperty("code").GetString());
        await (await client.GetAsync("problems/nothing")).ProblemAsync(404, "not_found");
    }
}

using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using Crm.Runner;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Gateway.Tests;

public sealed class AuthenticationTests(GatewayFixture gateway)
{
    public static TheoryData<string?> BadHeaders => new(
        null, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer x", "Bearer a.b.c", "Bearer sk_live_", "Bearer sk_live_short",
        "Bearer sk_live_" + new string('a', 43), "Bearer sk_live_" + new string('a', 44), "Bearer sk_test_" + new string('a', 43),
        "Bearer sk_live_' OR 1=1 --" + new string('a', 30), "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.");

    [Theory]
    [MemberData(nameof(BadHeaders))]
    public async Task Without_valid_credentials_nothing_is_forwarded(string? header)
    {
        var path = $"/v1/campaigns/{Guid.NewGuid()}";
        using var client = gateway.Client(null);
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (header is not null)
        {
            request.Headers.TryAddWithoutValidation("Authorization", header);
        }

        using var answer = await client.SendAsync(request);
        await answer.ProblemAsync(401, "unauthenticated");
        Assert.StartsWith("Bearer", answer.Headers.WwwAuthenticate.ToString(), StringComparison.Ordinal);
        Assert.Equal(header is not null, answer.Headers.WwwAuthenticate.ToString().Contains("invalid_token", StringComparison.Ordinal));
        Assert.DoesNotContain(path, gateway.Upstream.Seen.Keys);
    }

    [Fact]
    public async Task Two_credentials_are_none()
    {
        var (_, secret) = await gateway.CreateKeyAsync();
        var answer = await RawHttp.SendAsync(gateway.A, $"GET /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 401 ", answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(SecurityAlgorithms.RsaSha256)]
    [InlineData(SecurityAlgorithms.EcdsaSha256)]
    [InlineData(SecurityAlgorithms.RsaSsaPssSha256)]
    public async Task A_user_of_the_provider_acts_with_the_scopes_of_token_and_roles(string algorithm)
    {
        SecurityKey key = algorithm == SecurityAlgorithms.EcdsaSha256 ? gateway.Oidc.Ec : gateway.Oidc.Rsa;
        var token = gateway.Oidc.Token(key, algorithm, claims: new() { ["scope"] = "openid customers:read root", ["scp"] = new[] { "billing:read" }, ["roles"] = new[] { "agent", "guest" }, ["departments"] = new[] { "sales" } });
        using var client = gateway.Client(token);
        var echo = await (await client.GetAsync("v1/customers")).EchoAsync();

        var minted = new JsonWebToken(echo.Headers["Authorization"]["Bearer ".Length..]);
        Assert.Equal("oidc:jane", minted.Subject);
        Assert.Equal("crm:gateway", minted.Issuer);
        Assert.Equal(["billing:read", "cases:read", "cases:write", "customers:read"], minted.GetClaim("scope").Value.Split(' ').Order(StringComparer.Ordinal));
        Assert.Equal(["agent", "guest"], minted.Claims.Where(c => c.Type == "roles").Select(c => c.Value));
        Assert.Equal(["sales"], minted.Claims.Where(c => c.Type == "departments").Select(c => c.Value));
    }

    [Fact]
    public async Task A_subject_cannot_pass_for_a_service()
    {
        var token = new JsonWebTokenHandler().CreateToken(new SecurityTokenDescriptor
        {
            Issuer = gateway.Oidc.Authority, Audience = OidcProvider.Audience, Expires = DateTime.UtcNow.AddMinutes(1),
            SigningCredentials = new SigningCredentials(gateway.Oidc.Rsa, SecurityAlgorithms.RsaSha256), Claims = new Dictionary<string, object> { ["sub"] = "svc:campaigns" },
        });
        using var client = gateway.Client(token);
        var echo = await (await client.GetAsync("v1/customers")).EchoAsync();
        Assert.Equal("oidc:svc:campaigns", new JsonWebToken(echo.Headers["Authorization"]["Bearer ".Length..]).Subject);
    }

    [Fact]
    public async Task A_clock_may_differ_by_half_a_minute()
    {
        using var late = gateway.Client(gateway.Oidc.Token(expiresIn: TimeSpan.FromSeconds(-25)));
        await (await late.GetAsync("v1/customers")).OkAsync();
        using var early = gateway.Client(gateway.Oidc.Token(notBefore: TimeSpan.FromSeconds(25)));
        await (await early.GetAsync("v1/customers")).OkAsync();
    }

    public static TheoryData<string> BadTokens => new(
        "expired", "future", "without expiry", "other issuer", "issuer of our own tokens", "other audience", "none", "hmac with the public key", "hmac named as rsa key",
        "unknown key", "key of another", "changed payload", "changed signature", "without key id");

    [Theory]
    [MemberData(nameof(BadTokens))]
    public async Task A_token_that_is_wrong_in_one_thing_is_refused(string kind)
    {
        using var client = gateway.Client(Bad(kind));
        using var answer = await client.GetAsync("v1/customers");
        await answer.ProblemAsync(401, "unauthenticated");
        Assert.Contains("invalid_token", answer.Headers.WwwAuthenticate.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_token_that_the_gateway_minted_is_no_credential_at_the_gateway()
    {
        var (_, secret) = await gateway.CreateKeyAsync();
        using var client = gateway.Client(secret);
        var echo = await (await client.GetAsync("v1/customers")).EchoAsync();
        using var replay = gateway.Client(echo.Headers["Authorization"]["Bearer ".Length..]);
        await (await replay.GetAsync("v1/customers")).ProblemAsync(401, "unauthenticated");
    }

    [Fact]
    public async Task A_key_that_the_provider_adds_is_found()
    {
        var key = new RsaSecurityKey(RSA.Create(2048)) { KeyId = "rsa-2" };
        gateway.Oidc.Publish(key);
        using var client = gateway.Client(gateway.Oidc.Token(key));
        var start = DateTime.UtcNow;
        while ((int)(await client.GetAsync("v1/customers")).StatusCode == 401)
        {
            Assert.True(DateTime.UtcNow - start < TimeSpan.FromSeconds(60), "The new key is not read.");
            await Task.Delay(500);
        }
    }

    [Fact]
    public async Task A_key_known_before_works_while_the_database_is_away()
    {
        var database = await gateway.CreateDatabaseAsync("away");
        Assert.Equal(0, (await gateway.MigrateAsync(database)).ExitCode);
        var admin = "sk_live_" + SecretText.New();
        var (address, _) = await gateway.StartGatewayAsync(database, admin);
        using var client = gateway.Client(admin, address);
        await (await client.GetAsync("v1/customers")).OkAsync();

        var name = new Npgsql.NpgsqlConnectionStringBuilder(database).Database;
        await using var superuser = Npgsql.NpgsqlDataSource.Create(gateway.Postgres.ConnectionString);
        await using (var close = superuser.CreateCommand($"ALTER DATABASE \"{name}\" CONNECTION LIMIT 0; ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS false; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        {
            await close.ExecuteNonQueryAsync();
        }

        for (var second = 0; second < 8; second++)
        {
            await (await client.GetAsync("v1/customers")).OkAsync();
            await Task.Delay(1000);
        }

        using var unknown = gateway.Client("sk_live_" + SecretText.New(), address);
        await (await unknown.GetAsync("v1/customers")).ProblemAsync(503, "unavailable");
    }

    private string Bad(string kind)
    {
        var oidc = gateway.Oidc;
        var good = oidc.Token();
        var parts = good.Split('.');
        switch (kind)
        {
            case "expired": return oidc.Token(expiresIn: TimeSpan.FromSeconds(-31));
            case "future": return oidc.Token(notBefore: TimeSpan.FromSeconds(40));
            case "without expiry": return oidc.Token(withExpiry: false);
            case "other issuer": return oidc.Token(issuer: oidc.Authority + "2");
            case "issuer of our own tokens": return oidc.Token(issuer: "crm:gateway");
            case "other audience": return oidc.Token(audience: "crm");
            case "none": return $"{Encode("""{"alg":"none","typ":"JWT","kid":"rsa-1"}""")}.{parts[1]}.";
            case "hmac with the public key":
                return oidc.Token(new SymmetricSecurityKey(Encoding.UTF8.GetBytes(oidc.Rsa.Rsa.ExportSubjectPublicKeyInfoPem())), SecurityAlgorithms.HmacSha256);
            case "hmac named as rsa key":
                return oidc.Token(new SymmetricSecurityKey(oidc.Rsa.Rsa.ExportSubjectPublicKeyInfo()) { KeyId = "rsa-1" }, SecurityAlgorithms.HmacSha256);
            case "unknown key": return oidc.Token(new RsaSecurityKey(RSA.Create(2048)) { KeyId = "rsa-9" });
            case "key of another": return oidc.Token(new RsaSecurityKey(RSA.Create(2048)) { KeyId = "rsa-1" });
            case "changed payload": return $"{parts[0]}.{Encode(Encoding.UTF8.GetString(Base64UrlEncoder.DecodeBytes(parts[1])).Replace("jane", "root", StringComparison.Ordinal))}.{parts[2]}";
            case "changed signature": return good[..^4] + (good[^4..] == "AAAA" ? "BBBB" : "AAAA");
            case "without key id": return oidc.Token(new RsaSecurityKey(oidc.Rsa.Rsa));
            default: throw new ArgumentOutOfRangeException(nameof(kind));
        }
    }

    private static string Encode(string text) => Base64UrlEncoder.Encode(text);
}

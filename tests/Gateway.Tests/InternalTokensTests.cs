using System.Security.Cryptography;
using Crm.Hosting;
using Crm.Hosting.Auth;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;

namespace Gateway.Tests;

public sealed class InternalTokensTests
{
    [Fact]
    public void A_clock_that_was_ahead_and_is_put_right_leaves_no_token_that_is_not_valid_yet()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var clock = new SetClock(new DateTimeOffset(2026, 1, 1, 12, 10, 0, TimeSpan.Zero));
        using var tokens = new InternalTokens(
            Options.Create(new AuthOptions { PrivateKey = key.ExportPkcs8PrivateKeyPem(), TrustedKeys = "", GatewayJwks = new Uri("http://localhost") }), new ServiceName("support"), clock);
        var ahead = tokens.Own();
        Assert.Equal(ahead, tokens.Own());

        clock.Now -= TimeSpan.FromMinutes(10);
        Assert.Equal(clock.Now.UtcDateTime, new JsonWebToken(tokens.Own()).ValidFrom);
    }

    private sealed class SetClock(DateTimeOffset now) : TimeProvider
    {
        public DateTimeOffset Now { get; set; } = now;

        public override DateTimeOffset GetUtcNow() => Now;
    }
}

using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Crm.Runner.Bench;

/// <summary>A token as the gateway mints it, to measure a service without the gateway before it.</summary>
internal static class GatewayToken
{
    public static string Mint(string privateKey, IEnumerable<string> scopes, TimeSpan lifetime)
    {
        using var key = ECDsa.Create();
        key.ImportFromPem(privateKey);
        var point = key.ExportParameters(includePrivateParameters: false).Q;
        // RFC 7638: the members in this order, without blanks.
        var thumbprint = Encode(SHA256.HashData(Encoding.UTF8.GetBytes($$"""{"crv":"P-256","kty":"EC","x":"{{Encode(point.X!)}}","y":"{{Encode(point.Y!)}}"}""")));
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var header = JsonSerializer.SerializeToUtf8Bytes(new { alg = "ES256", typ = "JWT", kid = thumbprint });
        var claims = JsonSerializer.SerializeToUtf8Bytes(new
        {
            iss = "crm:gateway",
            aud = "crm",
            iat = now,
            nbf = now,
            exp = now + (long)lifetime.TotalSeconds,
            sub = "key_bench",
            scope = string.Join(' ', scopes),
        });
        var signed = $"{Encode(header)}.{Encode(claims)}";
        return $"{signed}.{Encode(key.SignData(Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256))}";
    }

    private static string Encode(byte[] bytes) => Convert.ToBase64String(bytes).TrimEnd('=').Replace('+', '-').Replace('/', '_');
}

using System.Security.Cryptography;

namespace Crm.Gateway.Features;

/// <summary>One OpenAPI document of everything public: made by <c>--openapi</c> from what the services say, and committed.</summary>
internal static class ReadOpenApi
{
    private static readonly byte[] Document = Read();
    private static readonly Microsoft.Net.Http.Headers.EntityTagHeaderValue Tag = new($"\"{Convert.ToHexStringLower(SHA256.HashData(Document))[..32]}\"");

    public static IResult Handle() => TypedResults.Bytes(Document, "application/json", entityTag: Tag);

    private static byte[] Read()
    {
        using var stream = typeof(ReadOpenApi).Assembly.GetManifestResourceStream("openapi.v1.json")!;
        using var copy = new MemoryStream();
        stream.CopyTo(copy);
        return copy.ToArray();
    }
}

using Crm.Hosting.Auth;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Gateway.Features;

/// <summary>The public half of the key that internal tokens are signed with, as a JSON Web Key Set (RFC 7517).</summary>
internal static class ReadSigningKeys
{
    public static JsonHttpResult<KeySet> Handle(InternalTokens tokens)
    {
        var key = tokens.PublicKey;
        return TypedResults.Json(new KeySet([new Key(key.Kty, key.Use, key.Alg, key.Kid, key.Crv, key.X, key.Y)]));
    }

    public sealed record KeySet(IReadOnlyList<Key> Keys);

    public sealed record Key(string Kty, string Use, string Alg, string Kid, string Crv, string X, string Y);
}

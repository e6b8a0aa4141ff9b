using System.Security.Claims;
using Crm.Hosting.Auth;
using Microsoft.Extensions.Caching.Memory;

namespace Crm.Gateway.Authentication;

/// <summary>Who sends a request: a key or a user.</summary>
internal sealed record Caller(TokenSubject Subject, int RequestsPerMinute)
{
    public const string Scheme = "Caller";

    /// <summary>Who comes without credentials where none are asked for; may do nothing that needs a scope.</summary>
    public static readonly Caller Public = new(new TokenSubject("public", [], [], []), 0);

    /// <summary>Everything that a minted token says, as one text.</summary>
    public string Identity { get; } = string.Join('\n',
        Subject.Subject, string.Join(' ', Subject.Scopes), string.Join(' ', Subject.Roles), string.Join(' ', Subject.Departments), Subject.Rows?.ToClaim());

    public ClaimsPrincipal ToPrincipal() => new(new ClaimsIdentity(
        [
            new Claim(CallerClaims.Subject, Subject.Subject),
            new Claim(CallerClaims.Scope, string.Join(' ', Subject.Scopes)),
            .. Subject.Roles.Select(r => new Claim(CallerClaims.Roles, r)),
            .. Subject.Departments.Select(d => new Claim(CallerClaims.Departments, d)),
            .. Subject.Rows is { } rows ? [new Claim(CallerClaims.Rows, rows.ToClaim())] : Array.Empty<Claim>(),
        ],
        Scheme, CallerClaims.Subject, CallerClaims.Roles));
}

/// <summary>The internal token of a caller: the same one until it is about to expire.</summary>
internal sealed class CallerTokens(InternalTokens tokens, TimeProvider clock) : IDisposable
{
    private static readonly TimeSpan Renewal = TimeSpan.FromSeconds(30);
    private readonly MemoryCache _cache = new(new MemoryCacheOptions { SizeLimit = 20_000 });

    public string For(Caller caller)
    {
        // One that lasts longer than any is of a clock that was ahead and has been put right: no service would accept it yet.
        if (_cache.TryGetValue(caller.Identity, out Minted? minted) && minted!.Expires - clock.GetUtcNow() is var left && left > Renewal && left <= InternalTokens.Lifetime)
        {
            return minted.Token;
        }

        var (token, expires) = tokens.Mint(caller.Subject);
        _cache.Set(caller.Identity, new Minted(token, expires), new MemoryCacheEntryOptions { Size = 1, AbsoluteExpirationRelativeToNow = InternalTokens.Lifetime });
        return token;
    }

    public void Dispose() => _cache.Dispose();

    private sealed record Minted(string Token, DateTimeOffset Expires);
}

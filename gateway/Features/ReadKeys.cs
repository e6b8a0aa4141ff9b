using Crm.Contracts;
using Crm.Gateway.Domain;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Gateway.Features;

/// <summary>Keys, revoked ones too, newest first.</summary>
internal static class ReadKeys
{
    public static Task<Page<KeyView>> List(HttpRequest request, GatewayDb db, TimeProvider clock, CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        return db.Keys.AsNoTracking().ToPageAsync(PageRequest.Read(request, Ids.Key), k => k.Id, Ids.Key, k => KeyView.Of(k, now), ct);
    }

    public static async Task<IResult> One(string id, HttpContext http, GatewayDb db, TimeProvider clock, CancellationToken ct)
    {
        var key = Ids.Key.TryParse(id, out var uuid) ? await db.Keys.AsNoTracking().FirstOrDefaultAsync(k => k.Id == uuid, ct) : null;
        return key is null ? throw ProblemException.NotFound("key") : ETags.Ok(http, key.Version, KeyView.Of(key, clock.GetUtcNow()));
    }

    /// <summary>The key as it is now, nobody else's until the transaction ends.</summary>
    public static async Task<ApiKey> LockKeyAsync(this GatewayDb db, string id, CancellationToken ct) =>
        (Ids.Key.TryParse(id, out var uuid) ? await db.Keys.ForUpdate($"id = {uuid}").ToListAsync(ct) : []).SingleOrDefault()
        ?? throw ProblemException.NotFound("key");
}

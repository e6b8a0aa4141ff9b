using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
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

    public static async Task<Ok<KeyView>> One(string id, GatewayDb db, TimeProvider clock, CancellationToken ct)
    {
        var key = Ids.Key.TryParse(id, out var uuid) ? await db.Keys.AsNoTracking().FirstOrDefaultAsync(k => k.Id == uuid, ct) : null;
        return TypedResults.Ok(KeyView.Of(key ?? throw ProblemException.NotFound("key"), clock.GetUtcNow()));
    }
}

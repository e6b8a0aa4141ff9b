using Crm.Contracts;
using Crm.Gateway.Authentication;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Gateway.Features;

/// <summary>The key is refused from now on, at other replicas within five seconds. The same again changes nothing.</summary>
internal static class RevokeKey
{
    public static async Task<NoContent> Handle(string id, GatewayDb db, KeyDirectory keys, TimeProvider clock, CancellationToken ct)
    {
        var key = (Ids.Key.TryParse(id, out var uuid) ? await db.Keys.FirstOrDefaultAsync(k => k.Id == uuid, ct) : null)
            ?? throw ProblemException.NotFound("key");
        if (key.RevokedAt is null)
        {
            key.Revoke(clock.GetUtcNow());
            db.AuditRow("key", key.Id, customerId: null, key);
        }

        await db.SaveChangesAsync(ct);
        keys.Forget(key.SecretHash);
        return TypedResults.NoContent();
    }
}

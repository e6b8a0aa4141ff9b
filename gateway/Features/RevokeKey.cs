using Crm.Gateway.Authentication;
using Crm.Hosting.Audit;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Gateway.Features;

/// <summary>The key is refused from now on, at other replicas within five seconds. The same again changes nothing.</summary>
internal static class RevokeKey
{
    public static async Task<NoContent> Handle(string id, GatewayDb db, KeyDirectory keys, TimeProvider clock, CancellationToken ct)
    {
        var secretHash = await db.InTransactionAsync(async () =>
        {
            var key = await db.LockKeyAsync(id, ct);
            if (key.RevokedAt is null)
            {
                key.Revoke(clock.GetUtcNow());
                db.AuditRow("key", key.Id, customerId: null, key);
                await db.SaveChangesAsync(ct);
            }

            return key.SecretHash;
        }, ct);
        keys.Forget(secretHash);
        return TypedResults.NoContent();
    }
}

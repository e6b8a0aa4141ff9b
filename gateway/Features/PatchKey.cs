using Crm.Contracts;
using Crm.Gateway.Authentication;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;

namespace Crm.Gateway.Features;

/// <summary>
/// JSON merge patch (RFC 7396) of what a key may do, for whom and for how long; needs <c>If-Match</c>. The secret stays.
/// It holds from the next request on, at other replicas within five seconds.
/// </summary>
internal static class PatchKey
{
    public static async Task<IResult> Handle(
        string id, HttpContext http, GatewayDb db, KeyDirectory keys, Policy policy, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        var patch = await MergePatch.ReadAsync(http.Request, ct);
        var now = clock.GetUtcNow();
        var key = await db.InTransactionAsync(async () =>
        {
            var found = await db.LockKeyAsync(id, ct);
            ETags.RequireMatch(http, found.Version);
            var before = CreateKey.Request.Of(found);
            var wanted = MergePatch.Apply(before, patch);
            await validation.EnsureValidAsync(wanted, ct);
            CreateKey.Check(wanted, http, policy, now, found.ExpiresAt);
            found.Change(wanted.Name!.Trim(), wanted.Scopes!, wanted.RequestsPerMinute, wanted.ExpiresAt, wanted.Roles ?? [], wanted.Departments ?? [], wanted.RowFilter);
            if (AuditChanges.Between(before, CreateKey.Request.Of(found)) is { Count: > 0 } changes)
            {
                found.Advance();
                db.Audit("updated", "key", found.Id, customerId: null, changes);
                await db.SaveChangesAsync(ct);
            }

            return found;
        }, ct);
        keys.Forget(key.SecretHash);
        http.Response.Headers.ETag = ETags.Of(key.Version);
        return TypedResults.Ok(KeyView.Of(key, now));
    }
}

using System.Diagnostics;
using System.Text.Json.Nodes;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Microsoft.AspNetCore.Http;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Npgsql;

namespace Crm.Hosting.Audit;

public static class AuditTrail
{
    /// <summary>
    /// Who deletes values of entries says so before, in its transaction, with <c>@actor</c>: then the log records which, and
    /// they are not missed.
    /// </summary>
    public const string ErasingBy = "SELECT set_config('crm.erasing_by', @actor, true)";

    /// <summary>Who changes something: the caller of the present request, or the service itself.</summary>
    public static string Actor(this CrmDbContext db) =>
        db.GetService<IHttpContextAccessor>().HttpContext?.User.Subject() ?? $"svc:{db.GetService<ServiceName>().Value}";

    /// <summary>Adds an entry for the caller of the present request, or for the service itself; saved with the change.</summary>
    /// <param name="action">What happened, in the past tense: <c>created</c>, <c>updated</c>, <c>revoked</c>.</param>
    /// <param name="changes">See <see cref="AuditChanges.Between"/>.</param>
    public static void Audit(this CrmDbContext db, string action, string recordType, Guid recordId, Guid? customerId, JsonObject changes) => db.Add(db.Compose(
        action, recordType, recordId, customerId, changes, db.Actor()));

    /// <summary>
    /// Many entries at once inside the transaction at hand, for work that a service does for somebody who asked for it
    /// earlier. They are linked into the chain here, which saves an update of each afterwards.
    /// </summary>
    public static async Task AuditAsync(
        this CrmDbContext db, string actor, IEnumerable<(string Action, string RecordType, Guid RecordId, Guid? CustomerId, JsonObject Changes)> changes, CancellationToken ct)
    {
        var entries = changes.Select(c => db.Compose(c.Action, c.RecordType, c.RecordId, c.CustomerId, c.Changes, actor)).ToList();
        if (entries.Count > 0)
        {
            await AuditChain.TryLinkAsync((NpgsqlConnection)db.Database.GetDbConnection(), entries, ct);
            await db.CopyAsync(entries, ct);
            await db.CopyAsync(entries.ConvertAll(e => e.Value!), ct);
        }
    }

    private static AuditEntry Compose(this CrmDbContext db, string action, string recordType, Guid recordId, Guid? customerId, JsonObject changes, string actor)
    {
        var at = db.GetService<TimeProvider>().GetUtcNow();
        // As the column keeps it: the chain hashes it before it is stored or after.
        at = at.AddTicks(-(at.Ticks % TimeSpan.TicksPerMicrosecond));
        var id = Guid.CreateVersion7(at);
        var value = AuditValue.Of(id, changes);
        return new AuditEntry
        {
            Id = id,
            At = at,
            Actor = actor,
            TraceId = Activity.Current?.TraceId.ToHexString(),
            Action = action,
            RecordType = recordType,
            RecordId = recordId,
            CustomerId = customerId,
            Digest = value.Digest(),
            Value = value,
        };
    }

    /// <summary>The same for a tracked row before it is saved: <c>created</c>, <c>updated</c> or <c>deleted</c>, with what differs.</summary>
    public static void AuditRow(this CrmDbContext db, string recordType, Guid recordId, Guid? customerId, object row)
    {
        var entry = db.Entry(row);
        var action = entry.State switch
        {
            EntityState.Added => "created",
            EntityState.Deleted => "deleted",
            _ => "updated",
        };
        db.Audit(action, recordType, recordId, customerId, AuditChanges.Of(entry));
    }
}

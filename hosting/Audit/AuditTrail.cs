using System.Diagnostics;
using System.Text.Json.Nodes;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Microsoft.AspNetCore.Http;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;
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
    /// <param name="customerId">Whose the record is now.</param>
    /// <param name="changes">See <see cref="AuditChanges.Between"/>.</param>
    /// <param name="origin">Under whom the record was recorded, when it follows its customer through merges: see <see cref="AuditValue.OriginCustomerId"/>.</param>
    public static void Audit(
        this CrmDbContext db, string action, string recordType, Guid recordId, Guid? customerId, JsonObject changes, Guid? origin = null) => db.Add(db.Compose(
        action, recordType, recordId, customerId, changes, db.Actor(), origin));

    /// <summary>
    /// Many entries at once inside the transaction at hand, for work that a service does for somebody who asked for it
    /// earlier. They are linked into the chain here, which saves an update of each afterwards.
    /// </summary>
    public static async Task AuditAsync(
        this CrmDbContext db, string actor, IEnumerable<(string Action, string RecordType, Guid RecordId, Guid? CustomerId, JsonObject Changes)> changes, CancellationToken ct)
    {
        var entries = changes.Select(c => db.Compose(c.Action, c.RecordType, c.RecordId, c.CustomerId, c.Changes, actor, origin: null)).ToList();
        if (entries.Count > 0)
        {
            await AuditChain.TryLinkAsync((NpgsqlConnection)db.Database.GetDbConnection(), entries, ct);
            await db.CopyAsync(entries, ct);
            await db.CopyAsync(entries.ConvertAll(e => e.Value!), ct);
        }
    }

    private static AuditEntry Compose(
        this CrmDbContext db, string action, string recordType, Guid recordId, Guid? customerId, JsonObject changes, string actor, Guid? origin)
    {
        var at = db.GetService<TimeProvider>().GetUtcNow();
        // As the column keeps it: the chain hashes it before it is stored or after.
        at = at.AddTicks(-(at.Ticks % TimeSpan.TicksPerMicrosecond));
        var id = Guid.CreateVersion7(at);
        var value = AuditValue.Of(id, changes, origin);
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
    public static void AuditRow(this CrmDbContext db, string recordType, Guid recordId, Guid? customerId, object row, Guid? origin = null)
    {
        var entry = db.Entry(row);
        db.Audit(ActionOf(entry), recordType, recordId, customerId, AuditChanges.Of(entry), origin);
    }

    /// <summary>
    /// The same for a row that follows its customer. When an edit gives it to somebody else, what it was and what it becomes are
    /// entries of their own, so that neither customer is told, or loses, the other's.
    /// </summary>
    public static void AuditRow(this CrmDbContext db, string recordType, IOwnedRow row)
    {
        var entry = db.Entry((object)row);
        var changes = AuditChanges.Of(entry);
        if (entry.State == EntityState.Modified && entry.Property(nameof(IOwnedRow.OriginCustomerId)) is { IsModified: true } origin)
        {
            var owner = (Guid)entry.Property(nameof(IOwnedRow.CustomerId)).OriginalValue!;
            db.Audit("updated", recordType, row.Id, owner, AuditChanges.OneSide(changes, "old"), (Guid)origin.OriginalValue!);
            changes = AuditChanges.OneSide(changes, "new");
        }

        db.Audit(ActionOf(entry), recordType, row.Id, row.CustomerId, changes, row.OriginCustomerId);
    }

    private static string ActionOf(EntityEntry row) => row.State switch
    {
        EntityState.Added => "created",
        EntityState.Deleted => "deleted",
        _ => "updated",
    };
}

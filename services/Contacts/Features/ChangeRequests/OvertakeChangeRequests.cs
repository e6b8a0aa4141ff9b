using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Merges;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;

namespace Crm.Contacts.Features.ChangeRequests;

/// <summary>
/// What is saved may be what pending change requests are based on: those that it overtakes become outdated with it, in the
/// same transaction, whoever writes.
/// </summary>
internal static class OvertakeChangeRequests
{
    /// <summary>Of what the context is about to save.</summary>
    public static async Task OvertakeAsync(this ContactsDb db, CancellationToken ct)
    {
        var changes = db.ChangeTracker.Entries().Where(e => e.State is EntityState.Added or EntityState.Modified or EntityState.Deleted).ToList();
        var customers = changes.Where(e => e.State == EntityState.Modified).Select(e => e.Entity).OfType<Customer>().ToList();
        Guid[] subjects =
        [
            .. changes.Where(e => e.State != EntityState.Added).Select(e => e.Entity).OfType<Relationship>().Select(r => r.Id),
            .. changes.Select(e => e.Entity).OfType<Merge>().Where(m => m.UndoAskedAt is not null).Select(m => m.Id),
        ];
        // Its entry is filed under the customer.
        Guid[] reassigned = [.. changes.Select(e => e.Entity).OfType<AuditEntry>().Where(a => a.RecordType == AccountManager.RecordType).Select(a => a.RecordId)];
        if (customers.Count + subjects.Length + reassigned.Length > 0)
        {
            await db.OvertakeAsync(customers, subjects, reassigned, ct);
        }
    }

    /// <summary>What it is based on is no more; saved with what comes next.</summary>
    public static void Outdate(this ContactsDb db, ChangeRequest request, DateTimeOffset now)
    {
        request.Overtake(db.Actor(), now);
        db.Audit("outdated", ChangeRequest.RecordType, request.Id, request.CustomerId, AuditChanges.Of(db.Entry(request)), request.OriginCustomerId);
        db.Publish(request, request.Changed());
    }

    /// <summary>For writes that pass the context by; saved with what comes next.</summary>
    /// <param name="customers">As they become.</param>
    /// <param name="subjects">Relationships that were changed or deleted, merges whose undo was asked for.</param>
    /// <param name="reassigned">Customers whose account manager is another one.</param>
    public static async Task OvertakeAsync(
        this ContactsDb db, IReadOnlyCollection<Customer> customers, Guid[] subjects, Guid[] reassigned, CancellationToken ct)
    {
        Guid[] concerned = [.. customers.Select(c => c.Id).Concat(reassigned).Distinct()];
        var found = await db.Database.SqlQuery<Guid>($"""
            SELECT id AS "Value" FROM change_requests WHERE status = 'pending' AND concerned && {concerned}
            UNION
            SELECT id FROM change_requests WHERE status = 'pending' AND subject_id = ANY ({subjects})
            """).ToArrayAsync(ct);
        if (found.Length == 0)
        {
            return;
        }

        // In the order of an approval: the customers, and then the requests.
        await db.Database.ExecuteSqlAsync($"SELECT FROM customers WHERE id = ANY ({concerned}) ORDER BY id FOR UPDATE", ct);
        var requests = await db.ChangeRequests.ForUpdate($"id = ANY ({found}) AND status = 'pending' ORDER BY id").ToListAsync(ct);
        var (byId, now) = (customers.ToDictionary(c => c.Id), db.GetService<TimeProvider>().GetUtcNow());
        // The one that is being approved is pending in the table still.
        foreach (var request in requests.Where(r => r.Status == ChangeRequestStatus.Pending))
        {
            if (await IsOvertakenAsync(request))
            {
                db.Outdate(request, now);
            }
        }

        async Task<bool> IsOvertakenAsync(ChangeRequest request) => request.Operation switch
        {
            // While its customer is merged into another one, it waits for the undo.
            ChangeOperation.ChangeCustomer => request.CustomerId == request.OriginCustomerId && byId.TryGetValue(request.CustomerId, out var customer)
                && request.IsOvertakenBy(await WithExternalIdsAsync(customer)),
            ChangeOperation.MergeCustomers or ChangeOperation.DeleteCustomer => request.Concerned.Exists(id => byId.TryGetValue(id, out var member) && request.IsOvertakenBy(id, member.Version)),
            ChangeOperation.AssignAccountManager => reassigned.Contains(request.CustomerId),
            ChangeOperation.ChangeRelationship or ChangeOperation.DeleteRelationship or ChangeOperation.UndoMerge => subjects.Contains(request.SubjectId!.Value),
            _ => false,
        };

        async Task<CustomerInput> WithExternalIdsAsync(Customer customer)
        {
            var entry = db.Entry(customer);
            if (entry.State != EntityState.Detached && !entry.Collection(c => c.ExternalIds).IsLoaded)
            {
                await entry.Collection(c => c.ExternalIds).LoadAsync(ct);
            }

            return customer.ToInput();
        }
    }
}

using Crm.Contacts.Domain;
using Crm.Contacts.Features.Duplicates;
using Crm.Contacts.Features.Relationships;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ModelBinding;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.RecycleBin;

/// <summary>
/// Brings a customer back from the recycle bin with all that it had: 200 with the customer. 409 <c>duplicate_suspected</c>
/// names who has one of its e-mail addresses or phone numbers since, or is likely the same; <c>allow_duplicate</c> with a
/// <c>reason</c> overrides it. 409 <c>conflict</c> when an organisation that belongs to it belongs to another one at the same
/// time since.
/// </summary>
internal static class RestoreCustomer
{
    public sealed record Request
    {
        public bool? AllowDuplicate { get; init; }

        /// <summary>With <c>allow_duplicate</c>: why it is another customer.</summary>
        [Line(500)]
        public string? Reason { get; init; }
    }

    public static async Task<IResult> Handle(
        string id, [FromBody(EmptyBodyBehavior = EmptyBodyBehavior.Allow)] Request? body, HttpContext http, ContactsDb db, DuplicateCheck duplicates, TimeProvider clock, CancellationToken ct)
    {
        if (body is { AllowDuplicate: true, Reason: null })
        {
            throw ProblemException.Invalid(new FieldError("/reason", "required", "Say why it is another customer."));
        }

        var key = await db.FindInBinAsync(id, http, ct);
        var restored = await db.InTransactionAsync(async () =>
        {
            var binned = await db.LockBinnedAsync(key, ct) ?? throw ReadRecycleBin.NotThere();
            await db.LockCustomersAsync([key], ct);
            var customer = await db.Whole().FirstAsync(c => c.Id == key, ct);
            await db.RequireDepartmentAsync(customer, ct);
            await RequireSameParentsAsync(customer, db, clock.Today(), ct);
            await RequireStillOneAsync(customer, binned, body, db, duplicates, clock.GetUtcNow(), ct);
            customer.BringBack(clock.GetUtcNow());
            db.RecycleBin.Remove(binned);
            db.Audit("restored", Customer.RecordType, key, key, []);
            db.AuditRow(BinnedCustomer.RecordType, key, key, binned);
            db.Publish(customer, new CustomerUpdated(customer.Snapshot(), ["state"]));
            await db.SaveChangesAsync(ct);
            return customer;
        }, ct);
        http.Response.Headers.ETag = ETags.Of(restored.Version);
        return TypedResults.Ok(CustomerView.Of(restored));
    }

    /// <summary>Nobody came, or got one of its identifiers, since it was deleted.</summary>
    private static async Task RequireStillOneAsync(
        Customer customer, BinnedCustomer binned, Request? body, ContactsDb db, DuplicateCheck duplicates, DateTimeOffset now, CancellationToken ct)
    {
        var input = customer.ToInput().Normalized();
        await duplicates.LockAsync(input, ct);
        var candidates = await duplicates.FindAsync(input, ct);
        var ids = candidates.Select(c => c.Id).ToArray();
        var since = await db.Customers.Where(c => ids.Contains(c.Id) && c.UpdatedAt >= binned.DeletedAt).Select(c => c.Id).ToArrayAsync(ct);
        if (since.Length == 0)
        {
            return;
        }

        if (body?.AllowDuplicate is not true)
        {
            throw DuplicateSuspicion.Of(
                [.. candidates.Where(c => since.Contains(c.Id))], "Somebody is there meanwhile who may be this customer. Use that one, or send allow_duplicate: true with a reason.");
        }

        await db.Database.ExecuteSqlAsync($"""
            INSERT INTO duplicate_overrides AS o (customer_id, candidate_ids, reason, actor, at) VALUES ({customer.Id}, {since}, {body.Reason}, {db.Actor()}, {now})
            ON CONFLICT (customer_id) DO UPDATE SET
                candidate_ids = ARRAY(SELECT unnest(o.candidate_ids) UNION SELECT unnest(excluded.candidate_ids)), reason = excluded.reason, actor = excluded.actor, at = excluded.at
            """, ct);
        db.Audit("created", DuplicateOverride.RecordType, customer.Id, customer.Id, AuditChanges.Between(null, new { CandidateIds = since, body.Reason }));
    }

    /// <summary>An organisation belongs to one at a time.</summary>
    private static async Task RequireSameParentsAsync(Customer customer, ContactsDb db, DateOnly today, CancellationToken ct)
    {
        if (customer.Kind != CustomerKind.Organization)
        {
            return;
        }

        await db.LockAsync([CreateRelationship.HierarchyLock], ct);
        var open = db.Relationships.Where(r => Relationship.Hierarchy.Contains(r.Type) && r.FromId != r.ToId && (r.EndsOn == null || r.EndsOn >= today));
        var other = await open.Where(r => r.ToId != customer.Id && r.To.State == CustomerState.Active && open.Any(own => own.ToId == customer.Id && own.FromId == r.FromId
                && (own.EndsOn == null || r.StartsOn == null || r.StartsOn <= own.EndsOn) && (r.EndsOn == null || own.StartsOn == null || own.StartsOn <= r.EndsOn)))
            .OrderBy(r => r.Id).Select(r => (Guid?)r.Id).FirstOrDefaultAsync(ct);
        if (other is { } relationship)
        {
            throw new ProblemException(ProblemCodes.Conflict, "An organization that belonged to it belongs to another one now; end that relationship first.")
            {
                Extensions = new Dictionary<string, object?> { ["existing_id"] = Ids.Relationship.Format(relationship) },
            };
        }
    }
}

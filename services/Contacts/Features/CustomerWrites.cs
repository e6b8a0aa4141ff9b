using Crm.Contacts.Domain;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.Tiers;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.Contacts.Features;

/// <summary>What create, upsert and patch share: references, the unique external id, the event and the audit entry.</summary>
internal static class CustomerWrites
{
    /// <exception cref="ProblemException">409 <c>already_exists</c>, or <c>in_recycle_bin</c>, naming the record that has one of the external ids.</exception>
    public static async Task RequireFreeExternalIdsAsync(this ContactsDb db, CustomerInput input, CancellationToken ct)
    {
        foreach (var (wanted, index) in input.ExternalIds!.Select((e, i) => (e, i)))
        {
            if (await db.ExternalIds.Where(e => e.System == wanted.System && e.Value == wanted.Id).Select(e => (Guid?)e.CustomerId).FirstOrDefaultAsync(ct) is { } owner)
            {
                throw await db.Customers.AsNoTracking().FirstOrDefaultAsync(c => c.Id == owner, ct) is { } found
                    ? AlreadyExists(found, $"/external_ids/{index}")
                    : new ProblemException(ProblemCodes.AlreadyExists, "The external id belongs to another customer.", new FieldError($"/external_ids/{index}", "already_exists"));
            }
        }
    }

    public static ProblemException AlreadyExists(Customer owner, string pointer)
    {
        var (id, code) = (Ids.Customer.Format(owner.Id), owner.State == CustomerState.Deleted ? ProblemCodes.InRecycleBin : ProblemCodes.AlreadyExists);
        var detail = owner.State == CustomerState.Deleted ? $"The external id belongs to {id}, which is in the recycle bin: restore it." : $"The external id belongs to {id}.";
        return new(code, detail, new FieldError(pointer, code.Code)) { Extensions = new Dictionary<string, object?> { ["existing_id"] = id } };
    }

    /// <param name="present">The customer that is changed; a referrer that it has already may be gone.</param>
    /// <exception cref="ProblemException">422 when the referrer or the tier does not exist, or the customer would refer itself.</exception>
    public static async Task RequireReferencesAsync(this ContactsDb db, CustomerInput input, CancellationToken ct, Customer? present = null)
    {
        if (Ids.Customer.TryParse(input.Source?.ReferrerId, out var referrer) && referrer != present?.SourceReferrerId)
        {
            if (!await db.Customers.AnyAsync(c => c.Id == referrer && c.State != CustomerState.Erased && c.State != CustomerState.Removed, ct))
            {
                throw UnknownReferrer();
            }

            if (present is not null && await db.RootOfAsync(referrer, ct) == present.Id)
            {
                throw RefersItself();
            }
        }

        if (input.Tier is not (null or Tier.Standard) && !await db.Tiers.AnyAsync(t => t.Name == input.Tier, ct))
        {
            throw ReadTiers.Unknown();
        }
    }

    public static ProblemException UnknownReferrer() =>
        new(ProblemCodes.UnknownCustomer, "The referrer does not exist.", new FieldError("/source/referrer_id", "unknown_customer"));

    public static ProblemException RefersItself(string pointer = "/source/referrer_id") =>
        new(ProblemCodes.Unprocessable, "Nobody refers themselves.", new FieldError(pointer, "same_customer"));

    /// <summary>Saves; the unique external id, and the value of a unique field, may still be taken by a writer that held no lock on it.</summary>
    /// <exception cref="ProblemException">409 <c>already_exists</c>, <c>in_recycle_bin</c>, or <c>value_taken</c> naming the field.</exception>
    public static async Task SaveAsync(this ContactsDb db, CustomerInput input, CancellationToken ct)
    {
        try
        {
            await db.SaveChangesAsync(ct);
        }
        catch (DbUpdateException exception) when (exception.InnerException is PostgresException { ConstraintName: ContactsDb.ExternalIdKey })
        {
            await db.RequireFreeExternalIdsAsync(input, ct);
            throw;
        }
        catch (DbUpdateException exception) when (exception.InnerException is PostgresException { ConstraintName: { } index } && index.StartsWith(FieldIndex.UniquePrefix, StringComparison.Ordinal))
        {
            if (await db.ValueTakenAsync(index, input, ct) is { } taken)
            {
                throw taken;
            }

            throw;
        }
    }

    public static Customer Register(this ContactsDb db, CustomerInput input, DateTimeOffset now)
    {
        var customer = Customer.Register(input.InRows(), db.Actor(), now);
        db.Customers.Add(customer);
        db.Audit("created", Customer.RecordType, customer.Id, customer.Id, AuditChanges.Between(null, customer.ToInput()));
        db.Publish(customer, new CustomerRegistered(customer.Snapshot()));
        return customer;
    }

    /// <summary>False when the new state is the old one.</summary>
    public static async Task<bool> ChangeAsync(this ContactsDb db, Customer customer, CustomerInput input, DateTimeOffset now, CancellationToken ct)
    {
        var before = customer.ToInput();
        await db.RequireDepartmentAsync(customer, ct, await db.ChangedGroupsAsync(before, input.Normalized(), ct));
        var changed = customer.Change(input.InRows(), db.Actor(), now);
        if (changed.Count == 0)
        {
            return false;
        }

        db.Audit("updated", Customer.RecordType, customer.Id, customer.Id, AuditChanges.Between(before, customer.ToInput()));
        db.Publish(customer, new CustomerUpdated(customer.Snapshot(), changed));
        return true;
    }

    public static IQueryable<Customer> Whole(this ContactsDb db) => db.Customers.Include(c => c.Identifiers).Include(c => c.ExternalIds).AsSplitQuery();
}

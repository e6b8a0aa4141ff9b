using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>Whom an id stands for: the id of a customer who was merged is the survivor's, for ever.</summary>
internal static class CustomerRoots
{
    /// <summary>The customer of the path.</summary>
    /// <exception cref="ProblemException">404; 308 to the survivor's path when the customer was merged.</exception>
    public static async Task<Guid> FindAtPathAsync(this ContactsDb db, string id, HttpContext http, CancellationToken ct)
    {
        var root = await db.FindRootAsync(id, ct);
        return Ids.Customer.Format(root) == id
            ? root
            : throw ProblemException.Moved(ProblemCodes.CustomerMerged, "The customer was merged into another.", http.Request, id, Ids.Customer.Format(root));
    }

    /// <summary>The customer whom the id stands for now.</summary>
    /// <exception cref="ProblemException">404; 410 <c>erased</c>, or <c>gone</c> when the import that made the customer was undone.</exception>
    public static async Task<Guid> FindRootAsync(this ContactsDb db, string id, CancellationToken ct)
    {
        var root = (Ids.Customer.TryParse(id, out var key) ? await db.RootOfAsync(key, ct) : null) ?? throw ProblemException.NotFound("customer");
        return await db.Customers.Where(c => c.Id == root).Select(c => (CustomerState?)c.State).FirstOrDefaultAsync(ct) switch
        {
            null => throw ProblemException.NotFound("customer"),
            CustomerState.Removed => throw new ProblemException(ProblemCodes.Gone, "The import that made this customer was undone."),
            CustomerState.Erased => throw Erased(),
            _ => root,
        };
    }

    public static ProblemException Erased() => new(ProblemCodes.Erased, "The customer was erased.");

    /// <summary>For whom the customer stands until the transaction ends: for rows that are about to be written.</summary>
    /// <exception cref="ProblemException">410 when the customer was erased a moment ago.</exception>
    public static async Task<Customer> HoldLivingAsync(this ContactsDb db, Guid id, CancellationToken ct)
    {
        var root = await db.HoldRootAsync(id, ct);
        var customer = await db.Customers.AsNoTracking().FirstAsync(c => c.Id == root, ct);
        return customer.State == CustomerState.Erased ? throw Erased() : customer;
    }

    /// <summary>Null when there is no such customer.</summary>
    public static async Task<Guid?> RootOfAsync(this ContactsDb db, Guid id, CancellationToken ct) => await db.Database
        .SqlQuery<Guid?>($"SELECT customer_root(id) AS \"Value\" FROM customers WHERE id = {id}").SingleOrDefaultAsync(ct);

    /// <summary>As <see cref="RootOfAsync"/>, and it stays so until the transaction ends: for rows that are about to be written.</summary>
    public static Task<Guid> HoldRootAsync(this ContactsDb db, Guid id, CancellationToken ct) => db.Database
        .SqlQuery<Guid>($"SELECT hold_customer({id}) AS \"Value\"").SingleAsync(ct);

    /// <summary>Nobody else merges these customers or writes statements of them until the transaction ends.</summary>
    public static Task LockCustomersAsync(this ContactsDb db, Guid[] ids, CancellationToken ct) => db.Database.ExecuteSqlAsync($"""
        SELECT pg_advisory_xact_lock(key)
        FROM (SELECT DISTINCT hashtextextended('customer ' || id, 0) AS key FROM unnest({ids}) AS id ORDER BY 1) AS keys
        """, ct);

    public static IQueryable<Customer> Living(this IQueryable<Customer> customers) => customers.Where(c => c.State == CustomerState.Active);
}

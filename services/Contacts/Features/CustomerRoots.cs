using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
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
            : throw Merged(id, root, http);
    }

    /// <summary>As <see cref="FindAtPathAsync"/>, in the recycle bin too.</summary>
    public static async Task<Guid> FindKeptAtPathAsync(this ContactsDb db, string id, HttpContext http, CancellationToken ct)
    {
        var (root, _) = await db.FindKeptRootAsync(id, ct);
        return Ids.Customer.Format(root) == id ? root : throw Merged(id, root, http);
    }

    /// <summary>As <see cref="FindKeptAtPathAsync"/>, and who was removed with an import: holds, exports, erasures.</summary>
    public static async Task<Guid> FindStoredAtPathAsync(this ContactsDb db, string id, HttpContext http, CancellationToken ct)
    {
        var (root, _) = await db.FindStoredRootAsync(id, ct);
        return Ids.Customer.Format(root) == id ? root : throw Merged(id, root, http);
    }

    /// <summary>The customer whom the id stands for now.</summary>
    /// <exception cref="ProblemException">
    /// 404; 410 <c>erased</c>, <c>customer_deleted</c> when it is in the recycle bin, <c>gone</c> when the import that made it was undone.
    /// </exception>
    public static async Task<Guid> FindRootAsync(this ContactsDb db, string id, CancellationToken ct)
    {
        var (root, state) = await db.FindKeptRootAsync(id, ct);
        return state == CustomerState.Deleted ? throw Deleted() : root;
    }

    /// <summary>As <see cref="FindRootAsync"/>, in the recycle bin too.</summary>
    public static async Task<(Guid Root, CustomerState State)> FindKeptRootAsync(this ContactsDb db, string id, CancellationToken ct)
    {
        var (root, state) = await db.FindStoredRootAsync(id, ct);
        return state == CustomerState.Removed ? throw Removed() : (root, state);
    }

    /// <summary>As <see cref="FindKeptRootAsync"/>, and who was removed with an import: another service may have rows of it.</summary>
    public static async Task<(Guid Root, CustomerState State)> FindStoredRootAsync(this ContactsDb db, string id, CancellationToken ct)
    {
        var root = (Ids.Customer.TryParse(id, out var key) ? await db.RootOfAsync(key, ct) : null) ?? throw ProblemException.NotFound("customer");
        return await db.Customers.Where(c => c.Id == root).Select(c => (CustomerState?)c.State).FirstOrDefaultAsync(ct) switch
        {
            null => throw ProblemException.NotFound("customer"),
            CustomerState.Erased => throw Erased(),
            { } state => (root, state),
        };
    }

    public static ProblemException Erased() => new(ProblemCodes.Erased, "The customer was erased.");

    public static ProblemException Removed() => new(ProblemCodes.Gone, "The import that made this customer was undone.");

    public static ProblemException Deleted() => new(ProblemCodes.CustomerDeleted, "The customer is in the recycle bin; it can be restored from there.");

    /// <exception cref="ProblemException">410 <c>customer_deleted</c>.</exception>
    public static Customer OutOfBin(this Customer customer) => customer.State == CustomerState.Deleted ? throw Deleted() : customer;

    private static ProblemException Merged(string id, Guid root, HttpContext http) =>
        ProblemException.Moved(ProblemCodes.CustomerMerged, "The customer was merged into another.", http.Request, id, Ids.Customer.Format(root));

    /// <summary>For whom the customer stands until the transaction ends: for rows that are about to be written.</summary>
    /// <exception cref="ProblemException">410 when the customer was erased, deleted or removed a moment ago.</exception>
    public static async Task<Customer> HoldLivingAsync(this ContactsDb db, Guid id, CancellationToken ct) => (await db.HoldKeptAsync(id, ct)).OutOfBin();

    /// <summary>As <see cref="HoldLivingAsync"/>, in the recycle bin too.</summary>
    public static async Task<Customer> HoldKeptAsync(this ContactsDb db, Guid id, CancellationToken ct)
    {
        var customer = await db.HoldStoredAsync(id, ct);
        return customer.State == CustomerState.Removed ? throw Removed() : customer;
    }

    /// <summary>As <see cref="HoldLivingAsync"/>, in the recycle bin and removed with an import too.</summary>
    public static async Task<Customer> HoldStoredAsync(this ContactsDb db, Guid id, CancellationToken ct)
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

    /// <summary>The customer, who is there or in the recycle bin, and all whom it has absorbed; nobody merges them or writes statements of them until the transaction ends.</summary>
    /// <param name="removed">Whether it may have been removed with its import.</param>
    public static async Task<Dictionary<Guid, Customer>> LockWithAbsorbedAsync(this ContactsDb db, Guid key, CancellationToken ct, bool removed = false)
    {
        Guid[] locked = [];
        while (true)
        {
            Guid[] all = await db.Database.SqlQuery<Guid>($"SELECT id AS \"Value\" FROM customers_below(ARRAY[{key}]) AS id ORDER BY 1").ToArrayAsync(ct);
            if (all.All(locked.Contains))
            {
                // A rule or an edit that changes one of them at this moment goes first.
                await db.Database.ExecuteSqlAsync($"SELECT FROM customers WHERE id = ANY ({all}) ORDER BY id FOR UPDATE", ct);
                var customers = await db.Customers.Where(c => all.Contains(c.Id)).ToDictionaryAsync(c => c.Id, ct);
                return customers[key].State is CustomerState.Active or CustomerState.Deleted || (removed && customers[key].State == CustomerState.Removed)
                    ? customers
                    : throw new ProblemException(ProblemCodes.ConcurrentChange, "The customer was merged or erased at this moment; read it again.");
            }

            await db.LockCustomersAsync(all, ct);
            locked = all;
        }
    }

    /// <summary>Those of the customers whom the caller sees.</summary>
    public static async Task<HashSet<Guid>> FindSeenAsync(this ContactsDb db, List<Guid> ids, CancellationToken ct) => CallerRights.Current.AllCustomers
        ? [.. ids]
        : [.. await db.Customers.Where(c => ids.Contains(c.Id)).Select(c => c.Id).ToListAsync(ct)];

    public static IQueryable<Customer> Living(this IQueryable<Customer> customers) => customers.Where(c => c.State == CustomerState.Active);
}

using Crm.Contracts;
using Crm.Contracts.Contacts.V1;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Grpc.Core;
using Microsoft.AspNetCore.Http;
using Microsoft.EntityFrameworkCore;

namespace Crm.CustomerCopy;

/// <summary>
/// Who a request is about: from the copy, or from Contacts when the copy has not heard of them yet. The id of a customer
/// who was merged stands for the survivor, for ever.
/// </summary>
public sealed class CustomerDirectory(CustomerCopyDb db, Contacts.ContactsClient contacts)
{
    private const string Erased = "erased";
    private const string Deleted = "deleted";

    /// <summary>The import that made the customer was undone.</summary>
    private const string Removed = "removed";

    /// <summary>
    /// The owner of a row that is about to be written, for a body field; in the recycle bin too, for what happens to a
    /// customer is kept, and is there when the customer comes back. Call it inside the row's transaction and before
    /// the row is locked: until that transaction ends, nobody can merge the customer away.
    /// </summary>
    /// <exception cref="ProblemException">
    /// 400 when it is not a customer id, 422 <c>unknown_customer</c> when there is none or they were erased or removed, 503 when
    /// Contacts cannot be reached.
    /// </exception>
    public async Task<Guid> RequireAsync(string? customerId, string pointer, CancellationToken ct)
    {
        if (db.Database.CurrentTransaction is null)
        {
            throw new InvalidOperationException("The owner of a row is looked up in the row's transaction.");
        }

        if (!Ids.Customer.TryParse(customerId, out var id))
        {
            throw ProblemException.Invalid(new FieldError(pointer, customerId is null ? "required" : "wrong_format", "A customer id, cus_…"));
        }

        if (await HoldAsync(id, ct) is { } held)
        {
            return held;
        }

        if (await RootAsync(id, ct) is { State: Erased or Removed } gone)
        {
            throw new ProblemException(ProblemCodes.UnknownCustomer, Gone(gone.State).Message, new FieldError(pointer, gone.State));
        }

        return (await FetchAsync(id, ct)
            ? await HoldAsync(id, ct)
            : null) ?? throw new ProblemException(ProblemCodes.UnknownCustomer, "There is no such customer.", new FieldError(pointer, "unknown_customer"));
    }

    /// <summary>The customer whom an id stands for now.</summary>
    /// <exception cref="ProblemException">
    /// 404 when there is none, 410 <c>erased</c>, <c>customer_deleted</c> or <c>gone</c>, 503 when Contacts cannot be reached.
    /// </exception>
    public async Task<Guid> FindAsync(string customerId, CancellationToken ct) =>
        Ids.Customer.TryParse(customerId, out var id) && (await RootAsync(id, ct) ?? (await FetchAsync(id, ct) ? await RootAsync(id, ct) : null)) is { } root
            ? root.State is Erased or Deleted or Removed ? throw Gone(root.State) : root.Id
            : throw ProblemException.NotFound("customer");

    /// <summary>The customer of the path.</summary>
    /// <exception cref="ProblemException">308 to the survivor's path when the customer was merged; otherwise as <see cref="FindAsync"/>.</exception>
    public async Task<Guid> FindAtPathAsync(string customerId, HttpContext http, CancellationToken ct)
    {
        var root = await FindAsync(customerId, ct);
        return Ids.Customer.Format(root) == customerId ? root : throw ProblemException.Moved(
            ProblemCodes.CustomerMerged, "The customer was merged into another.", http.Request, customerId, Ids.Customer.Format(root));
    }

    /// <summary>As <see cref="RequireAsync"/>, for the path of a write: rows written under an old id are the survivor's.</summary>
    /// <exception cref="ProblemException">
    /// 404 when there is none, 410 <c>erased</c>, <c>customer_deleted</c> or <c>gone</c>, 503 when Contacts cannot be reached.
    /// </exception>
    public async Task<Guid> HoldAtPathAsync(string customerId, CancellationToken ct)
    {
        try
        {
            var held = await RequireAsync(customerId, "id", ct);
            return await RootAsync(held, ct) is { State: Deleted } ? throw Gone(Deleted) : held;
        }
        catch (ProblemException exception) when (exception.Code == ProblemCodes.UnknownCustomer || exception.Code == ProblemCodes.ValidationFailed)
        {
            throw exception.Errors is [{ Code: Erased or Removed }] ? Gone(exception.Errors[0].Code) : ProblemException.NotFound("customer");
        }
    }

    /// <summary>The filter <c>customer_id</c> of a list: the customer whom it stands for. Null when it is not given.</summary>
    /// <exception cref="ProblemException">400 when it is not a customer id.</exception>
    public async Task<Guid?> ReadFilterAsync(HttpRequest request, CancellationToken ct)
    {
        if (request.Query["customer_id"] is not [{ } text])
        {
            return null;
        }

        return Ids.Customer.TryParse(text, out var id)
            ? (await RootAsync(id, ct))?.Id ?? id
            : throw ProblemException.InvalidParameter("customer_id", "A customer id, cus_….");
    }

    private async Task<Guid?> HoldAsync(Guid id, CancellationToken ct) => await SeenAsync(await db.Database
        .SqlQuery<Guid?>($"SELECT CASE WHEN EXISTS (SELECT 1 FROM customers WHERE id = {id}) THEN hold_customer({id}) END AS \"Value\"").SingleAsync(ct), ct);

    private async Task<Root?> RootAsync(Guid id, CancellationToken ct)
    {
        var root = await db.Database.SqlQuery<Root>($"""
            SELECT root AS "Id", CASE WHEN c.state = 'erased' THEN c.state ELSE coalesce(r.state, c.state) END AS "State"
            FROM customers c CROSS JOIN customer_root(c.id) AS root LEFT JOIN customers r ON r.id = root WHERE c.id = {id}
            """).SingleOrDefaultAsync(ct);
        return await SeenAsync(root?.Id, ct) is null ? null : root;
    }

    /// <summary>Null when it is a customer whom the caller does not see.</summary>
    private async Task<Guid?> SeenAsync(Guid? root, CancellationToken ct) =>
        root is null || CallerRights.Current.AllCustomers || await db.Customers.AnyAsync(c => c.Id == root, ct) ? root : null;

    private static ProblemException Gone(string state) => state switch
    {
        Erased => new(ProblemCodes.Erased, "The customer was erased."),
        Removed => new(ProblemCodes.Gone, "The import that made this customer was undone."),
        _ => new(ProblemCodes.CustomerDeleted, "The customer is in the recycle bin; it can be restored from there."),
    };

    /// <param name="State">Of whom the id stands for; <c>erased</c> is said of the id itself.</param>
    private sealed record Root(Guid Id, string State);

    private async Task<bool> FetchAsync(Guid id, CancellationToken ct)
    {
        try
        {
            var customer = await contacts.GetCustomerAsync(new GetCustomerRequest { Id = Ids.Customer.Format(id), IncludeDeleted = true }, cancellationToken: ct);
            await db.StoreAsync([.. customer.Absorbed.Append(customer.Snapshot).Select(s => s.ToSnapshot())], ct);
            return true;
        }
        catch (RpcException exception) when (exception.StatusCode == StatusCode.NotFound)
        {
            return false;
        }
        catch (RpcException exception) when (!ct.IsCancellationRequested && exception.StatusCode != StatusCode.Cancelled)
        {
            throw new ProblemException(ProblemCodes.Unavailable, "Contacts cannot be asked for this customer; try again.") { RetryAfter = 1 };
        }
    }
}

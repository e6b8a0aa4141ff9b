using Crm.Contracts;
using Crm.Contracts.Contacts.V1;
using Crm.Hosting.Web;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;

namespace Crm.CustomerCopy;

/// <summary>Who a write is about: from the copy, or from Contacts when the copy has not heard of them yet.</summary>
public sealed class CustomerDirectory(CustomerCopyDb db, Contacts.ContactsClient contacts, KnownCustomers known)
{
    /// <summary>The customer's key for a body field.</summary>
    /// <exception cref="ProblemException">
    /// 400 when it is not a customer id, 422 <c>unknown_customer</c> when there is none, 503 when Contacts cannot be reached.
    /// </exception>
    public async Task<Guid> RequireAsync(string? customerId, string pointer, CancellationToken ct)
    {
        if (!Ids.Customer.TryParse(customerId, out var id))
        {
            throw ProblemException.Invalid(new FieldError(pointer, customerId is null ? "required" : "wrong_format", "A customer id, cus_…"));
        }

        return await ExistsAsync(id, ct)
            ? id
            : throw new ProblemException(ProblemCodes.UnknownCustomer, "There is no such customer.", new FieldError(pointer, "unknown_customer"));
    }

    /// <summary>The customer's key for a path segment.</summary>
    /// <exception cref="ProblemException">404 when there is none, 503 when Contacts cannot be reached.</exception>
    public async Task<Guid> FindAsync(string customerId, CancellationToken ct) =>
        Ids.Customer.TryParse(customerId, out var id) && await ExistsAsync(id, ct) ? id : throw ProblemException.NotFound("customer");

    private async Task<bool> ExistsAsync(Guid id, CancellationToken ct)
    {
        if (known.Contains(id))
        {
            return true;
        }

        if (await db.Customers.AnyAsync(c => c.Id == id, ct))
        {
            known.Add(id);
            return true;
        }

        try
        {
            var customer = await contacts.GetCustomerAsync(new GetCustomerRequest { Id = Ids.Customer.Format(id) }, cancellationToken: ct);
            await db.StoreAsync([customer.Snapshot.ToSnapshot()], ct);
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

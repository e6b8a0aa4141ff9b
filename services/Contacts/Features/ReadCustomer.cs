using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>One customer, by id or by an external id.</summary>
internal static class ReadCustomer
{
    public static async Task<IResult> Handle(string id, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var customer = await db.FindAsync(id, ct);
        return ETags.Ok(http, customer.Version, CustomerView.Of(customer));
    }

    public static async Task<IResult> HandleByExternalId(string source, string externalId, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var customer = await db.Whole().AsNoTracking().FirstOrDefaultAsync(c => c.ExternalIds.Any(e => e.System == source && e.Value == externalId), ct)
            ?? throw ProblemException.NotFound("customer");
        return ETags.Ok(http, customer.Version, CustomerView.Of(customer));
    }

    /// <exception cref="ProblemException">404.</exception>
    public static async Task<Customer> FindAsync(this ContactsDb db, string id, CancellationToken ct) =>
        Ids.Customer.TryParse(id, out var key) && await db.Whole().AsNoTracking().FirstOrDefaultAsync(c => c.Id == key, ct) is { } customer
            ? customer.RequireThere()
            : throw ProblemException.NotFound("customer");
}

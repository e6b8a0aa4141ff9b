using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.AccountManagers;

/// <summary>Who has looked after a customer, and the book of business of an account manager.</summary>
internal static class ListAccountManagers
{
    public static readonly string[] BookParameters = [.. PageRequest.Parameters, "manager", "at"];

    /// <summary>Past, present and to come, newest first.</summary>
    public static async Task<Ok<Page<AccountManagerView>>> OfCustomer(string id, HttpRequest request, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.AccountManager);
        var customer = await db.FindAtPathAsync(id, request.HttpContext, ct);
        return TypedResults.Ok(await db.AccountManagers.AsNoTracking().Include(a => a.Customer).Where(a => a.CustomerId == customer).Shown(db.AccountManagers, clock.GetUtcNow())
            .ToPageAsync(page, a => a.Id, Ids.AccountManager, AccountManagerView.Of, ct));
    }

    /// <summary>The customers whom <c>manager</c> looks after now, or did or will <c>at</c> an instant; newest assignment first.</summary>
    public static async Task<Ok<Page<AccountManagerView>>> Book(HttpRequest request, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.AccountManager);
        var manager = request.Query["manager"] is [{ Length: > 0 } name] ? name : throw ProblemException.InvalidParameter("manager", "Say whose customers.");
        var at = request.Query["at"] is not [{ } text] ? clock.GetUtcNow()
            : Instants.TryParse(text, out var instant) ? instant : throw ProblemException.InvalidParameter("at", "An RFC 3339 instant with its zone.");
        return TypedResults.Ok(await db.AccountManagers.AsNoTracking().Include(a => a.Customer)
            .Where(a => a.Manager == manager && a.StartsAt <= at && (a.EndsAt == null || a.EndsAt > at) && a.Customer.State == CustomerState.Active)
            .Shown(db.AccountManagers, at)
            .ToPageAsync(page, a => a.Id, Ids.AccountManager, AccountManagerView.Of, ct));
    }

    /// <summary>Of several at once, as only a merge brings about, the customer's own one, else the one recorded first.</summary>
    private static IQueryable<AccountManager> Shown(this IQueryable<AccountManager> assignments, IQueryable<AccountManager> all, DateTimeOffset at) => assignments
        .Where(a => a.StartsAt > at || a.EndsAt <= at || !all.Any(o => o.CustomerId == a.CustomerId && o.StartsAt <= at && (o.EndsAt == null || o.EndsAt > at)
            && ((o.OriginCustomerId == o.CustomerId && a.OriginCustomerId != a.CustomerId)
                || ((o.OriginCustomerId == o.CustomerId) == (a.OriginCustomerId == a.CustomerId) && o.Id < a.Id))));
}

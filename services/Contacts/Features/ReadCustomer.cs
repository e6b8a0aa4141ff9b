using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>One customer, by id or by an external id.</summary>
internal static class ReadCustomer
{
    public static async Task<IResult> Handle(string id, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        CallerRights.Current.SeeParts();
        var key = await db.FindAtPathAsync(id, http, ct);
        var customer = await db.Whole().AsNoTracking().FirstAsync(c => c.Id == key, ct);
        return ETags.Ok(http, customer.Version, (await db.ShowAsync([customer], ct))[0]);
    }

    public static async Task<IResult> HandleByExternalId(string source, string externalId, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        CallerRights.Current.SeeParts();
        var customer = await db.Whole().AsNoTracking().FirstOrDefaultAsync(c => c.ExternalIds.Any(e => e.System == source && e.Value == externalId), ct)
            ?? throw ProblemException.NotFound("customer");
        customer.OutOfBin();
        return ETags.Ok(http, customer.Version, (await db.ShowAsync([customer], ct))[0]);
    }
}

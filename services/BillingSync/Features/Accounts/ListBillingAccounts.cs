using Crm.CustomerCopy;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features.Accounts;

/// <summary>Where a customer pays, by source.</summary>
internal static class ListBillingAccounts
{
    public sealed record Response(IReadOnlyList<BillingAccountView> Data);

    public static async Task<Response> Handle(string id, HttpContext http, BillingSyncDb db, CustomerDirectory customers, CancellationToken ct)
    {
        var customer = await customers.FindAtPathAsync(id, http, ct);
        var accounts = await db.BillingAccounts.AsNoTracking().Where(a => a.CustomerId == customer).OrderBy(a => a.Source).ThenBy(a => a.Id).ToListAsync(ct);
        return new([.. accounts.Select(BillingAccountView.Of)]);
    }
}

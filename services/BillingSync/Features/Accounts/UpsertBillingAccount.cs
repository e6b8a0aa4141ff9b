using System.Text.Json.Serialization;
using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Audit;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features.Accounts;

/// <summary>
/// Says where a customer pays: one account in each billing source; the same body again changes nothing. Accounts that came with
/// merges stand beside the survivor's own: the body is about the one with its <c>provider_customer_id</c>, else the one of the
/// customer whom the path names, merged or not, else the survivor's own, which is opened if there is none. What came with a
/// merge goes back with its undo, as it is by then. 409 <c>two_paying_accounts</c> when the account would begin to pay, by a
/// provider's customer id or an active subscription, while another one of the customer pays in the source.
/// </summary>
internal static class UpsertBillingAccount
{
    public static async Task<IResult> Handle(
        string id, string source, BillingAccountInput body, HttpContext http, BillingSyncDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        if (!SlugAttribute.IsSlug(source))
        {
            throw ProblemException.Invalid(new FieldError("source", "wrong_format", "Lower-case letters, digits, _ - and . only, 1 to 64 of them."));
        }

        var (account, result) = await db.InTransactionAsync(async () =>
        {
            var customer = await customers.HoldAtPathAsync(id, ct);
            await db.LockAccountsAsync([(customer, source)], ct);
            var named = Ids.Customer.Parse(id);
            var present = await db.BillingAccounts.Where(a => a.CustomerId == customer && a.Source == source)
                .OrderByDescending(a => a.OriginCustomerId == named).ThenByDescending(a => a.OriginCustomerId == customer).ThenBy(a => a.Id).ToListAsync(ct);
            var existing = present.Find(a => a.ProviderCustomerId is not null && a.ProviderCustomerId == body.ProviderCustomerId)
                ?? present.Find(a => a.OriginCustomerId == named || a.OriginCustomerId == customer)
                ?? present.Find(a => a.Says(body));
            if (existing is null)
            {
                var opened = BillingAccount.Open(customer, source, body, clock.GetUtcNow());
                RequireOnePayer(opened, present);
                db.BillingAccounts.Add(opened);
                db.AuditRow(BillingAccount.RecordType, opened);
                await db.SaveChangesAsync(ct);
                return (opened, UpsertResult.Created);
            }

            var paid = existing.Pays;
            var changed = existing.Replace(body, clock.GetUtcNow());
            if (!paid)
            {
                RequireOnePayer(existing, present);
            }

            if (changed)
            {
                db.AuditRow(BillingAccount.RecordType, existing);
            }

            await db.SaveChangesAsync(ct);
            return (existing, changed ? UpsertResult.Updated : UpsertResult.Unchanged);
        }, ct);
        var view = BillingAccountView.Of(account) with { Result = result };
        return result.Answer(http, account.Version, $"/v1/customers/{view.CustomerId}/billing-accounts", view);
    }

    private static void RequireOnePayer(BillingAccount account, List<BillingAccount> present)
    {
        if (account.Pays && present.Find(a => a.Id != account.Id && a.Pays) is { } other)
        {
            throw new ProblemException(
                ProblemCodes.TwoPayingAccounts, "Another account of the customer pays in this source since a merge; end that one first, under the id that it came from.",
                new FieldError("source", ProblemCodes.TwoPayingAccounts.Code, $"{account.Source}: {Ids.Customer.Format(account.OriginCustomerId)}, {Ids.Customer.Format(other.OriginCustomerId)}"));
        }
    }
}

/// <summary>Where a customer pays.</summary>
public sealed record BillingAccountView(
    string CustomerId, string Source, [property: FieldGroup(FieldGroups.Finance)] string? ProviderCustomerId, Subscription Subscription, long Version, DateTimeOffset CreatedAt, DateTimeOffset UpdatedAt)
{
    /// <summary>What an upsert did; only there.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public UpsertResult? Result { get; init; }

    internal static BillingAccountView Of(BillingAccount account) => new(
        Ids.Customer.Format(account.CustomerId), account.Source, account.ProviderCustomerId, account.Subscription, account.Version, account.CreatedAt, account.UpdatedAt);
}

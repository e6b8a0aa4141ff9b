using System.Text.Json.Serialization;
using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Audit;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features.Accounts;

/// <summary>Says where a customer pays: one account in each billing source; the same body again changes nothing.</summary>
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
            await db.LockAsync([$"billing account {customer} {source}"], ct);
            // Its own before one that came with a merge.
            var existing = await db.BillingAccounts.Where(a => a.CustomerId == customer && a.Source == source)
                .OrderByDescending(a => a.OriginCustomerId == customer).ThenBy(a => a.Id).FirstOrDefaultAsync(ct);
            if (existing is null)
            {
                var opened = BillingAccount.Open(customer, source, body, clock.GetUtcNow());
                db.BillingAccounts.Add(opened);
                db.AuditRow(BillingAccount.RecordType, opened.Id, customer, opened);
                await db.SaveChangesAsync(ct);
                return (opened, UpsertResult.Created);
            }

            var changed = existing.Replace(body, clock.GetUtcNow());
            if (changed)
            {
                db.AuditRow(BillingAccount.RecordType, existing.Id, customer, existing);
            }

            await db.SaveChangesAsync(ct);
            return (existing, changed ? UpsertResult.Updated : UpsertResult.Unchanged);
        }, ct);
        var view = BillingAccountView.Of(account) with { Result = result };
        return Answers.Upserted(http, result, account.Version, $"/v1/customers/{view.CustomerId}/billing-accounts", view);
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

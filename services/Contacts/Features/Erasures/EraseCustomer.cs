using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Erasures;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.RecycleBin;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Erasure;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.Erasures;

/// <summary>
/// Erases a customer with all who were merged into it, for good; needs <c>If-Match</c>. 202 with the erasure, which is
/// <c>completed</c> when every service has sent its signed receipt. From then on the customer answers 410 <c>erased</c>,
/// under every id. 409 <c>legal_hold</c> while a hold is set on any of them. One in the recycle bin need not be restored before,
/// and of one whose import was undone the rows that other services have got all the same are erased.
/// </summary>
internal static class EraseCustomer
{
    public sealed record Request
    {
        /// <summary>Why. It stays on record: without personal data.</summary>
        [Required, Line(500)]
        public string? Reason { get; init; }
    }

    public static async Task<Accepted<ErasureView>> Handle(
        string id, Request body, HttpContext http, ContactsDb db, SignedStatements statements, IOptions<ErasureOptions> options, TimeProvider clock, CancellationToken ct)
    {
        var key = await db.FindStoredAtPathAsync(id, http, ct);
        var erasure = await db.InTransactionAsync(async () =>
        {
            await db.LockBinnedAsync(key, ct);
            var customers = await db.LockWithAbsorbedAsync(key, ct, removed: true);
            ETags.RequireMatch(http, customers[key].Version);
            foreach (var customer in customers.Values)
            {
                await db.RequireDepartmentAsync(customer, ct);
            }

            await db.RequireNoHoldAsync(customers.Keys, ct);
            return await EraseAsync(db, key, customers, body.Reason!, http.User.Subject(), statements, options.Value, clock.GetUtcNow(), ct);
        }, ct);
        var view = ErasureView.Of(erasure, clock.GetUtcNow());
        return TypedResults.Accepted($"/v1/erasures/{view.Id}", view);
    }

    /// <param name="customers">The customer and all whom it has absorbed, locked.</param>
    public static async Task<Erasure> EraseAsync(
        ContactsDb db, Guid key, Dictionary<Guid, Customer> customers, string reason, string actor, SignedStatements statements, ErasureOptions options, DateTimeOffset now, CancellationToken ct)
    {
        var erasure = Erasure.Begin(key, customers.Keys, reason, actor, options.BackupDays, now);
        db.Erasures.Add(erasure);
        if (customers[key].State == CustomerState.Deleted)
        {
            // What is found by its identifiers, such as the rows of an import to come, is to be found once more.
            (await db.Whole().FirstAsync(c => c.Id == key, ct)).BringBack(now);
            await db.SaveChangesAsync(ct);
        }

        await TellUniqueValuesAsync(db, customers.Values, ct);
        foreach (var customer in customers.Values)
        {
            customer.Erase(now);
        }

        await db.SaveChangesAsync(ct);
        Guid[] ids = [.. erasure.CustomerIds];
        string[] names = [.. ids.Select(id => Ids.Customer.Format(id))];
        var counts = await db.EraseAsync(ids, ids, names, ct);
        db.Audit("erased", Customer.RecordType, key, key, AuditChanges.Between(null, counts));
        var statement = new ErasureStatement(
            "contacts", Ids.Erasure.Format(erasure.Id), Ids.Customer.Format(key), names, counts.Erased, counts.Kept, now, erasure.BackupsGoneBy);
        erasure.Take(statement, statements.Sign(statement), now);
        db.Publish(erasure, new CustomersErased(statement.ErasureId, statement.CustomerId, [.. customers.Values.Select(c => c.Snapshot())], now, erasure.BackupsGoneBy));
        await db.SaveChangesAsync(ct);
        return erasure;
    }

    /// <summary>To <see cref="ErasureSteps"/>, until the transaction ends: rows of imports may know a customer by nothing else.</summary>
    private static async Task TellUniqueValuesAsync(ContactsDb db, IReadOnlyCollection<Customer> customers, CancellationToken ct)
    {
        var values = (await db.ReadFieldsAsync(ct)).Unique.SelectMany(f => customers
            .Select(c => c.Attributes.TryGetValue(f.Name, out var value) ? f.KeyOf(value) : null).OfType<string>().Distinct(StringComparer.Ordinal)
            .Select(key => new { field = f.Name, value = key, number = f.Type == CustomFieldType.Integer }));
        await db.Database.ExecuteSqlAsync($"SELECT set_config('crm.erased_values', {JsonSerializer.Serialize(values)}, true)", ct);
    }
}

using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Tags;

/// <summary>
/// Gives a customer one tag, or takes it away, whatever others do with its other tags at this moment; 200 with the customer
/// also when it had it already. 202 with a change request when the record belongs to another department that approves changes.
/// </summary>
internal static class TagCustomer
{
    public static Task<IResult> Add(string id, string tag, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct) =>
        ChangeAsync(id, tag, tags => [.. tags, tag], http, db, validation, clock, ct);

    public static Task<IResult> Remove(string id, string tag, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct) =>
        ChangeAsync(id, tag, tags => [.. tags.Where(t => t != tag)], http, db, validation, clock, ct);

    /// <exception cref="ProblemException">400.</exception>
    public static string NameOf(string? tag) => tag is not null && Tag.IsName(tag) ? tag : throw ProblemException.InvalidParameter("tag", Tag.Expected);

    private static async Task<IResult> ChangeAsync(
        string id, string tag, Func<List<string>, List<string>> change, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        if (!CallerRights.Current.MayWrite(FieldGroups.CustomFields))
        {
            throw FieldRules.Forbidden("tag", FieldGroups.CustomFields);
        }

        _ = NameOf(tag);
        CallerRights.Current.SeeParts();
        return await db.InTransactionAsync(async () =>
        {
            if (Ids.Customer.TryParse(id, out var named))
            {
                await db.Database.ExecuteSqlAsync($"SELECT FROM customers WHERE id = {named} FOR UPDATE", ct);
            }

            var key = await db.FindAtPathAsync(id, http, ct);
            var customer = await db.Whole().FirstAsync(c => c.Id == key, ct);
            return await PatchCustomer.SaveAsync(customer, customer.ToInput() with { Tags = change(customer.Tags) }, http, db, validation, clock, ct, await db.UnreachedAsync(customer, new() { ["tags"] = null }, ct));
        }, ct);
    }
}

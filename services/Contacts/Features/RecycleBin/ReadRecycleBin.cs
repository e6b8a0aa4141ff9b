using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.RecycleBin;

/// <summary>The customers in the recycle bin, who was deleted last first, and one of them as it was.</summary>
internal static class ReadRecycleBin
{
    public static readonly string[] Parameters = ["limit", "cursor"];

    public static async Task<Page<BinnedCustomerView>> List(HttpRequest request, ContactsDb db, CancellationToken ct)
    {
        var limit = PageRequest.ReadLimit(request);
        var binned = db.RecycleBin.AsNoTracking().Include(b => b.Customer).AsQueryable();
        if (TimeCursor.Read(request) is { } last)
        {
            binned = binned.Where(b => EF.Functions.LessThan(ValueTuple.Create(b.DeletedAt, b.CustomerId), ValueTuple.Create(last.At, last.Id)));
        }

        var found = await binned.OrderByDescending(b => b.DeletedAt).ThenByDescending(b => b.CustomerId).Take(limit + 1).ToListAsync(ct);
        var more = found.Count > limit;
        var page = found.Take(limit).ToList();
        var holds = await db.HoldsAsync([.. page.Select(b => b.CustomerId)], ct);
        return new([.. page.Select(b => BinnedCustomerView.Of(b, holds[b.CustomerId]))], more, more ? TimeCursor.Write(page[^1].DeletedAt, page[^1].CustomerId) : null);
    }

    /// <summary>With the customer itself, whose version is the <c>ETag</c>.</summary>
    public static async Task<IResult> One(string id, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var key = await db.FindInBinAsync(id, http, ct);
        var binned = await db.RecycleBin.AsNoTracking().Include(b => b.Customer).ThenInclude(c => c.ExternalIds).AsSplitQuery().FirstOrDefaultAsync(b => b.CustomerId == key, ct)
            ?? throw NotThere();
        var holds = await db.HoldsAsync([key], ct);
        return ETags.Ok(http, binned.Customer.Version, BinnedCustomerView.Of(binned, holds[key]) with { Customer = CustomerView.Of(binned.Customer) });
    }

    /// <summary>The customer of the path.</summary>
    /// <exception cref="ProblemException">404 when it is not in the bin; 308 to the survivor's path; 410 <c>erased</c>.</exception>
    public static async Task<Guid> FindInBinAsync(this ContactsDb db, string id, HttpContext http, CancellationToken ct)
    {
        var key = await db.FindKeptAtPathAsync(id, http, ct);
        return await db.RecycleBin.AnyAsync(b => b.CustomerId == key, ct) ? key : throw NotThere();
    }

    /// <summary>Why a customer is in the bin, nobody else's until the transaction ends; null when it is not. Before any other lock on the customer.</summary>
    public static async Task<BinnedCustomer?> LockBinnedAsync(this ContactsDb db, Guid customer, CancellationToken ct) =>
        (await db.RecycleBin.ForUpdate($"customer_id = {customer}").ToListAsync(ct)).SingleOrDefault();

    public static ProblemException NotThere() => ProblemException.NotFound("customer in the recycle bin");

    /// <summary>By customer: the holds that forbid the erasure of it or of one whom it has absorbed.</summary>
    private static async Task<ILookup<Guid, Guid>> HoldsAsync(this ContactsDb db, Guid[] customers, CancellationToken ct) =>
        (await db.Database.SqlQuery<HoldRow>($"""
            SELECT top, h.id FROM unnest({customers}) AS top CROSS JOIN LATERAL customers_below(ARRAY[top]) AS below
            JOIN legal_holds h ON h.customer_id = below AND h.lifted_at IS NULL ORDER BY h.id
            """).ToListAsync(ct)).ToLookup(h => h.Top, h => h.Id);

    private sealed record HoldRow([property: Column("top")] Guid Top, [property: Column("id")] Guid Id);
}

/// <summary>A customer in the recycle bin.</summary>
/// <param name="Id">The customer's.</param>
/// <param name="RestorableUntil">Then it is erased, unless legal holds keep it.</param>
/// <param name="LegalHoldIds">What keeps it for longer: the holds on it, or on one whom it has absorbed.</param>
public sealed record BinnedCustomerView(
    string Id,
    CustomerKind Kind,
    [property: FieldGroup(FieldGroups.Names)] string DisplayName,
    DateTimeOffset DeletedAt,
    string DeletedBy,
    [property: FieldGroup(FieldGroups.Notes)] string? Reason,
    DateTimeOffset RestorableUntil,
    IReadOnlyList<string> LegalHoldIds)
{
    /// <summary>As it was; only when one is read.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull)]
    public CustomerView? Customer { get; init; }

    internal static BinnedCustomerView Of(BinnedCustomer binned, IEnumerable<Guid> holds) => new(
        Ids.Customer.Format(binned.CustomerId), binned.Customer.Kind, binned.Customer.DisplayName, binned.DeletedAt, binned.Actor, binned.Reason, binned.KeepUntil,
        [.. holds.Select(h => Ids.LegalHold.Format(h))]);
}

using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>The definitions for whoever writes attributes, and for whoever changes the definitions.</summary>
internal static class CustomFieldReads
{
    /// <summary>The definitions that hold until the transaction ends.</summary>
    public static async Task<FieldCatalog> HoldFieldsAsync(this ContactsDb db, CancellationToken ct)
    {
        await db.Database.ExecuteSqlAsync($"SELECT pg_advisory_xact_lock_shared(hashtextextended('custom fields', 0))", ct);
        return await db.ReadFieldsAsync(ct);
    }

    /// <summary>The definitions at this moment.</summary>
    public static async Task<FieldCatalog> ReadFieldsAsync(this ContactsDb db, CancellationToken ct) => new(
        await db.CustomFields.AsNoTracking().ToListAsync(ct), db.GetService<IOptions<CustomFieldOptions>>().Value.Strict, CallerRights.Current.MayWrite);

    /// <summary>Waits for all who write attributes, and holds them off until the transaction ends.</summary>
    public static Task LockFieldsAsync(this ContactsDb db, CancellationToken ct) => db.LockAsync(["custom fields"], ct);

    /// <summary>The customer with its attributes as they are stored; inside the transaction that stores it.</summary>
    /// <param name="before">Null of a new customer.</param>
    /// <exception cref="ProblemException">400, or 403 <c>field_forbidden</c>, naming <c>/attributes/…</c>.</exception>
    public static async Task<CustomerInput> CheckAttributesAsync(this ContactsDb db, CustomerInput? before, CustomerInput after, CancellationToken ct) =>
        before?.Kind == after.Kind && FieldCatalog.IsSame(before!, after) ? after with { Attributes = before!.Attributes } : (await db.HoldFieldsAsync(ct)).Check(before, after.InRows());

    /// <exception cref="ProblemException">404.</exception>
    public static async Task<CustomField> FindFieldAsync(this ContactsDb db, string id, CancellationToken ct) =>
        Ids.CustomField.TryParse(id, out var key) && await db.CustomFields.FirstOrDefaultAsync(f => f.Id == key, ct) is { } field
            ? field
            : throw ProblemException.NotFound("custom field");
}

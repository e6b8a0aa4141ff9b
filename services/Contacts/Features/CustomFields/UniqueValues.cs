using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>Who has the value of a unique field.</summary>
internal static class UniqueValues
{
    /// <summary>By value, of those asked for, the customer who has it, in the recycle bin too.</summary>
    public static async Task<Dictionary<string, Guid>> OwnersAsync(this ContactsDb db, CustomField field, IEnumerable<string> values, CancellationToken ct)
    {
        var wanted = values.Distinct(StringComparer.Ordinal).ToArray();
        if (wanted.Length == 0)
        {
            return [];
        }

#pragma warning disable EF1002 // The expression is made of a slug.
        var found = await db.Database.SqlQueryRaw<Owner>($$"""
            SELECT w.value, c.id FROM unnest({0}) AS w(value) JOIN customers c ON {{Escaped(FieldIndex.ExpressionOf(field))}} = {{(field.Type == CustomFieldType.Integer ? "w.value::numeric" : "w.value")}}
            WHERE c.{{FieldIndex.UniqueStates}}
            """, [wanted]).ToListAsync(ct);
#pragma warning restore EF1002
        return found.DistinctBy(o => o.Value, StringComparer.Ordinal).ToDictionary(o => o.Value, o => o.Id, StringComparer.Ordinal);
    }

    /// <summary>The customer who has the value; the caller's own rows only.</summary>
    public static async Task<Customer?> FindByValueAsync(this ContactsDb db, CustomField field, string value, CancellationToken ct) =>
        (await db.OwnersAsync(field, [value], ct)).TryGetValue(value, out var owner) ? await db.Whole().FirstOrDefaultAsync(c => c.Id == owner, ct) : null;

    /// <summary>By value, of those asked for, who absorbed the customer that had it, while nobody else has it.</summary>
    public static async Task<Dictionary<string, Guid>> SurvivorsAsync(this ContactsDb db, CustomField field, IEnumerable<string> values, CancellationToken ct)
    {
        var wanted = values.Distinct(StringComparer.Ordinal).ToArray();
        if (wanted.Length == 0)
        {
            return [];
        }

        var value = field.Type == CustomFieldType.Integer ? "w.value::numeric" : "w.value";
#pragma warning disable EF1002 // The expression is made of a slug.
        var found = await db.Database.SqlQueryRaw<Owner>($$"""
            SELECT w.value, customer_root(c.id) AS id FROM unnest({0}) AS w(value)
            JOIN customers c ON c.attributes @> jsonb_build_object('{{field.Name}}', {{value}}) AND {{Escaped(FieldIndex.ExpressionOf(field))}} = {{value}}
            WHERE c.state = 'merged'
              AND NOT EXISTS (SELECT FROM customers h WHERE h.{{FieldIndex.UniqueStates}} AND {{Escaped(FieldIndex.ExpressionOf(field))}} = {{value}})
            ORDER BY c.id
            """, [wanted]).ToListAsync(ct);
#pragma warning restore EF1002
        return found.DistinctBy(o => o.Value, StringComparer.Ordinal).ToDictionary(o => o.Value, o => o.Id, StringComparer.Ordinal);
    }

    /// <summary>As <see cref="FindByValueAsync"/>, who absorbed the customer that had the value.</summary>
    public static async Task<Customer?> FindSurvivorAsync(this ContactsDb db, CustomField field, string value, CancellationToken ct) =>
        (await db.SurvivorsAsync(field, [value], ct)).TryGetValue(value, out var survivor) ? await db.Whole().FirstOrDefaultAsync(c => c.Id == survivor, ct) : null;

    /// <summary>What a write broke that the index refused; null when the field is not there any more.</summary>
    public static async Task<ProblemException?> ValueTakenAsync(this ContactsDb db, string index, CustomerInput input, CancellationToken ct)
    {
        if ((await db.ReadFieldsAsync(ct)).Unique.FirstOrDefault(f => FieldIndex.UniqueNameOf(f) == index) is not { } field)
        {
            return null;
        }

        var owner = input.Attributes?.TryGetValue(field.Name, out var value) is true && field.KeyOf(value) is { } key ? await db.FindByValueAsync(field, key, ct) : null;
        return ValueTaken(field, owner);
    }

    /// <summary>Takes from customers, who are to be active now, what others or one before them have by now; answers what.</summary>
    public static async Task<List<(Guid Customer, string Field)>> GiveUpTakenAsync(this ContactsDb db, IReadOnlyList<Customer> customers, CancellationToken ct)
    {
        var givenUp = new List<(Guid Customer, string Field)>();
        foreach (var field in (await db.HoldFieldsAsync(ct)).Unique)
        {
            var values = customers.Select(c => (Customer: c, Key: c.Attributes.TryGetValue(field.Name, out var value) ? field.KeyOf(value) : null)).Where(v => v.Key is not null).ToList();
            var owners = await db.OwnersAsync(field, values.Select(v => v.Key!), ct);
            var taken = owners.Where(o => customers.All(c => c.Id != o.Value)).Select(o => o.Key).ToHashSet(StringComparer.Ordinal);
            foreach (var (customer, _) in values.Where(v => !taken.Add(v.Key!)))
            {
                customer.GiveUp(field.Name);
                givenUp.Add((customer.Id, field.Name));
            }
        }

        return givenUp;
    }

    /// <param name="owner">Null when the caller does not see the customer who has it.</param>
    public static ProblemException ValueTaken(CustomField field, Customer? owner)
    {
        var error = new FieldError(FieldCatalog.Pointer(field.Name), ProblemCodes.ValueTaken.Code, $"{field.Label} is unique.");
        return owner is null
            ? new(ProblemCodes.ValueTaken, "Another customer has this value.", error)
            : new(ProblemCodes.ValueTaken, $"{Ids.Customer.Format(owner.Id)} has this value{(owner.State == CustomerState.Deleted ? ", and is in the recycle bin" : "")}.", error)
            {
                Extensions = new Dictionary<string, object?> { ["existing_id"] = Ids.Customer.Format(owner.Id) },
            };
    }

    /// <summary>A field that is to be unique is so already; while the definitions are held, so that nobody writes.</summary>
    /// <exception cref="ProblemException">409 <c>conflict</c> that counts who has what others have.</exception>
    public static async Task RequireApartAsync(this ContactsDb db, CustomField field, CancellationToken ct)
    {
        if (field.UniqueState != FieldIndexState.Building)
        {
            return;
        }

#pragma warning disable EF1002 // The expression is made of a slug.
        var shared = await db.Database.SqlQueryRaw<Shared>($"""
            SELECT count(*) AS "values", coalesce(sum(n), 0)::bigint AS customers FROM (
                SELECT count(*) AS n FROM customers WHERE {FieldIndex.UniqueStates} AND {Escaped(FieldIndex.ExpressionOf(field))} IS NOT NULL
                GROUP BY {Escaped(FieldIndex.ExpressionOf(field))} HAVING count(*) > 1) AS twice
            """).SingleAsync(ct);
#pragma warning restore EF1002
        if (shared.Values > 0)
        {
            throw new ProblemException(
                ProblemCodes.Conflict, $"{shared.Customers} customers share {shared.Values} values of the field; make them differ first.", new FieldError("/unique", "in_use"))
            {
                Extensions = new Dictionary<string, object?> { ["values"] = shared.Values, ["customers"] = shared.Customers },
            };
        }
    }

    /// <summary>Braces stand for parameters.</summary>
    public static string Escaped(string expression) => expression.Replace("{", "{{", StringComparison.Ordinal).Replace("}", "}}", StringComparison.Ordinal);

    private sealed record Owner([property: Column("value")] string Value, [property: Column("id")] Guid Id);

    private sealed record Shared([property: Column("values")] long Values, [property: Column("customers")] long Customers);
}

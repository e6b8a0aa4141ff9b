using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// Customers with their identifiers and external ids, read and written many at a time. Not tracked: what is to be stored
/// is named.
/// </summary>
/// <param name="hold">Nobody else changes them until the transaction ends.</param>
internal sealed class CustomerSet(ContactsDb db, bool hold)
{
    private static readonly (string, string)[] IdentifierColumns = [("kind", "text"), ("value", "text"), ("customer_id", "uuid")];
    private static readonly (string, string)[] ExternalIdColumns = [("system", "text"), ("external_id", "text"), ("customer_id", "uuid")];

    private readonly Dictionary<Guid, Customer> _read = [];
    private readonly Dictionary<Guid, CustomerIdentifier[]> _identifiers = [];
    private readonly Dictionary<Guid, ExternalId[]> _externalIds = [];
    private readonly Dictionary<Guid, Dictionary<string, JsonElement>> _attributes = [];

    /// <summary>Those of the ids that there are.</summary>
    public async Task<IReadOnlyDictionary<Guid, Customer>> ReadAsync(IEnumerable<Guid> ids, CancellationToken ct)
    {
        var wanted = ids.ToHashSet();
        var missing = wanted.Where(id => !_read.ContainsKey(id)).ToArray();
        if (missing.Length > 0)
        {
            var rows = hold
                ? db.Customers.FromSql($"SELECT * FROM customers WHERE id = ANY ({missing}) ORDER BY id FOR NO KEY UPDATE")
                : db.Customers.Where(c => missing.Contains(c.Id));
            var customers = await rows.AsNoTracking().ToListAsync(ct);
            var identifiers = (await db.Identifiers.Where(i => missing.Contains(i.CustomerId)).AsNoTracking().ToListAsync(ct)).ToLookup(i => i.CustomerId);
            var externalIds = (await db.ExternalIds.Where(e => missing.Contains(e.CustomerId)).AsNoTracking().ToListAsync(ct)).ToLookup(e => e.CustomerId);
            foreach (var customer in customers)
            {
                _identifiers[customer.Id] = [.. identifiers[customer.Id]];
                _externalIds[customer.Id] = [.. externalIds[customer.Id]];
                customer.Identifiers.AddRange(_identifiers[customer.Id]);
                customer.ExternalIds.AddRange(_externalIds[customer.Id]);
                _attributes[customer.Id] = customer.Attributes;
                _read[customer.Id] = customer;
            }
        }

        return wanted.Where(_read.ContainsKey).ToDictionary(id => id, id => _read[id]);
    }

    /// <summary>Stores new customers, and the changes of those that were read; rows in the order of the indexes, which costs least.</summary>
    /// <param name="unique">The fields of which no two have the same value.</param>
    public async Task StoreAsync(IReadOnlyCollection<Customer> created, IReadOnlyCollection<Customer> changed, IReadOnlyList<CustomField> unique, CancellationToken ct)
    {
        var all = created.Concat(changed).ToList();
        if (changed.Count > 0)
        {
            await db.OvertakeAsync(changed, [], [], ct);
            await DeleteAsync(changed, ct);
            await FreeAsync(changed, unique, ct);
            await db.UpdateAsync(changed, ct);
        }

        if (created.Count > 0)
        {
            await db.CopyAsync(created, ct);
        }

        await db.CopyAsync([.. all.SelectMany(c => c.LifecycleChanges)], ct);
        await db.CopyAsync(
            "customer_identifiers", IdentifierColumns,
            all.SelectMany(c => New(c.Identifiers, _identifiers, c).Select(i => (i.Kind, i.Value, c.Id)))
                .OrderBy(i => i.Kind, StringComparer.Ordinal).ThenBy(i => i.Value, StringComparer.Ordinal).Select(i => (object?[])[i.Kind, i.Value, i.Id]), ct);
        await db.CopyAsync(
            "external_ids", ExternalIdColumns,
            all.SelectMany(c => New(c.ExternalIds, _externalIds, c).Select(e => (e.System, e.Value, c.Id)))
                .OrderBy(e => e.System, StringComparer.Ordinal).ThenBy(e => e.Value, StringComparer.Ordinal).Select(e => (object?[])[e.System, e.Value, e.Id]), ct);
    }

    /// <summary>A customer keeps the objects of rows that stay (<see cref="Customer.Change"/>).</summary>
    private static IEnumerable<T> New<T>(List<T> rows, Dictionary<Guid, T[]> read, Customer customer) where T : class =>
        read.TryGetValue(customer.Id, out var before) ? rows.Except(before) : rows;

    /// <summary>A unique index looks at one row after the other: who passes a value on to another of them gives it up first.</summary>
    private async Task FreeAsync(IReadOnlyCollection<Customer> changed, IReadOnlyList<CustomField> unique, CancellationToken ct)
    {
        var givers = new HashSet<Guid>();
        foreach (var field in unique)
        {
            var now = changed.Where(c => c.State == CustomerState.Active).ToLookup(c => KeyOf(field, c.Attributes), c => c.Id);
            givers.UnionWith(changed.Where(c => KeyOf(field, _attributes[c.Id]) is { } key && now[key].Any(id => id != c.Id)).Select(c => c.Id));
        }

        if (givers.Count > 0)
        {
            var (ids, names) = (givers.ToArray(), unique.Select(f => f.Name).ToArray());
            await db.Database.ExecuteSqlAsync($"UPDATE customers SET attributes = attributes - {names} WHERE id = ANY ({ids})", ct);
        }

        static string? KeyOf(CustomField field, Dictionary<string, JsonElement> attributes) =>
            attributes.TryGetValue(field.Name, out var value) ? field.KeyOf(value) : null;
    }

    private async Task DeleteAsync(IReadOnlyCollection<Customer> changed, CancellationToken ct)
    {
        var identifiers = changed.SelectMany(c => _identifiers[c.Id].Except(c.Identifiers)).ToList();
        if (identifiers.Count > 0)
        {
            var (kinds, values, owners) = (identifiers.Select(i => i.Kind).ToArray(), identifiers.Select(i => i.Value).ToArray(), identifiers.Select(i => i.CustomerId).ToArray());
            await db.Database.ExecuteSqlAsync($"""
                DELETE FROM customer_identifiers i USING unnest({kinds}, {values}, {owners}) AS gone (kind, value, customer_id)
                WHERE (i.kind, i.value, i.customer_id) = (gone.kind, gone.value, gone.customer_id)
                """, ct);
        }

        var externalIds = changed.SelectMany(c => _externalIds[c.Id].Except(c.ExternalIds)).ToList();
        if (externalIds.Count > 0)
        {
            var (systems, values) = (externalIds.Select(e => e.System).ToArray(), externalIds.Select(e => e.Value).ToArray());
            await db.Database.ExecuteSqlAsync($"""
                DELETE FROM external_ids e USING unnest({systems}, {values}) AS gone (system, external_id)
                WHERE (e.system, e.external_id) = (gone.system, gone.external_id)
                """, ct);
        }
    }
}

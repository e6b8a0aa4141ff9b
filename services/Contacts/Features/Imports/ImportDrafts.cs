using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Imports;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Imports;

/// <summary>What a dry run would have made so far: its later rows find it as those of an import find customers.</summary>
internal sealed class ImportDrafts(ContactsDb db, Import import)
{
    /// <summary>Customers that are not there, and the numbers under which they are kept.</summary>
    private readonly Dictionary<Customer, Guid> _made = [];

    /// <summary>Whether only this dry run knows the customer.</summary>
    public bool IsDraft(Customer? customer) => customer is not null && _made.ContainsKey(customer);

    public async Task<IReadOnlyList<(ImportKey Key, Guid Draft)>> FindAsync(IReadOnlyCollection<ImportKey> keys, CancellationToken ct)
    {
        var (kinds, systems, values) = (keys.Select(k => k.Kind.ToWord()).ToArray(), keys.Select(k => k.System).ToArray(), keys.Select(k => k.Value).ToArray());
        return [.. (await db.Database.SqlQuery<KeyRow>($"""
            SELECT kind AS "Kind", system AS "System", value AS "Value", draft_id AS "DraftId"
            FROM unnest({kinds}, {systems}, {values}) AS k (kind, system, value) JOIN import_draft_keys d USING (kind, system, value)
            WHERE d.import_id = {import.Id}
            """).ToListAsync(ct)).Select(r => (new ImportKey(EnumWords<MatchKey>.Parse(r.Kind), r.System, r.Value), r.DraftId))];
    }

    /// <summary>Those who are there become what the dry run would have made of them, and those who are not come to be.</summary>
    /// <param name="wanted">Ids of customers and drafts.</param>
    public async Task ApplyAsync(Dictionary<Guid, Customer> customers, IEnumerable<Guid> wanted, DateTimeOffset now, CancellationToken ct)
    {
        var ids = wanted.Concat(customers.Values.Select(c => c.Id)).Distinct().ToArray();
        var drafts = await db.Database.SqlQuery<DraftRow>($"""
            SELECT draft_id AS "DraftId", customer::text AS "Customer" FROM import_drafts WHERE import_id = {import.Id} AND draft_id = ANY ({ids})
            """).ToListAsync(ct);
        var there = customers.Values.DistinctBy(c => c.Id).ToDictionary(c => c.Id);
        foreach (var draft in drafts)
        {
            var input = JsonSerializer.Deserialize<CustomerInput>(draft.Customer, JsonDefaults.Options)!;
            if (there.TryGetValue(draft.DraftId, out var customer))
            {
                customer.Change(input, import.Actor, now);
            }
            else if (!customers.ContainsKey(draft.DraftId))
            {
                customers[draft.DraftId] = Customer.Register(input, import.Actor, now);
                _made[customers[draft.DraftId]] = draft.DraftId;
            }
        }
    }

    /// <summary>Keeps what these rows would have made.</summary>
    public async Task StoreAsync(IReadOnlyList<ImportRow> rows, CancellationToken ct)
    {
        var touched = rows.Where(r => r.Outcome is ImportOutcome.Created or ImportOutcome.Updated).ToList();
        foreach (var row in touched.Where(r => r.Outcome == ImportOutcome.Created))
        {
            _made[row.Customer!] = row.Customer!.Id;
        }

        var customers = touched.Select(r => r.Customer!).Distinct().ToList();
        var (ids, bodies) = (customers.Select(IdOf).ToArray(), customers.Select(c => JsonSerializer.Serialize(c.ToInput(), JsonDefaults.Options)).ToArray());
        await db.Database.ExecuteSqlAsync($"""
            INSERT INTO import_drafts (import_id, draft_id, customer)
            SELECT {import.Id}, id, body::jsonb FROM unnest({ids}, {bodies}) AS d (id, body)
            ON CONFLICT (import_id, draft_id) DO UPDATE SET customer = excluded.customer
            """, ct);
        var keys = touched.SelectMany(r => r.Keys.Select(k => (Key: k, Draft: IdOf(r.Customer!)))).Distinct().ToList();
        var (kinds, systems, values, drafts) = (keys.Select(k => k.Key.Kind.ToWord()).ToArray(), keys.Select(k => k.Key.System).ToArray(), keys.Select(k => k.Key.Value).ToArray(), keys.Select(k => k.Draft).ToArray());
        await db.Database.ExecuteSqlAsync($"""
            INSERT INTO import_draft_keys (import_id, kind, system, value, draft_id)
            SELECT {import.Id}, kind, system, value, draft_id FROM unnest({kinds}, {systems}, {values}, {drafts}) AS k (kind, system, value, draft_id)
            ON CONFLICT DO NOTHING
            """, ct);
    }

    public Task DeleteAsync(CancellationToken ct) => db.Database.ExecuteSqlAsync($"DELETE FROM import_drafts WHERE import_id = {import.Id}", ct);

    private Guid IdOf(Customer customer) => _made.GetValueOrDefault(customer, customer.Id);

    private sealed class KeyRow
    {
        public string Kind { get; init; } = "";
        public string System { get; init; } = "";
        public string Value { get; init; } = "";
        public Guid DraftId { get; init; }
    }

    private sealed class DraftRow
    {
        public Guid DraftId { get; init; }
        public string Customer { get; init; } = "";
    }
}

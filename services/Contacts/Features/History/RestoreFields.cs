using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Merges;
using Crm.Contacts.Features.CustomFields;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.History;

/// <summary>
/// Gives fields the values that they had before a change of the history; needs <c>If-Match</c>. Of attributes and lists
/// only those entries that the change touched: what was changed of the others since stays. The restoring is a change like any other,
/// with an entry of its own. 409 <c>conflict</c> for the creation: there is nothing before it.
/// </summary>
internal static class RestoreFields
{
    public sealed record Request
    {
        /// <summary>Names of fields that the change touched, <c>attributes.NAME</c> among them; all of them when left out.</summary>
        [AtMost(50)]
        public List<string>? Fields { get; init; }
    }

    public static async Task<IResult> Handle(
        string id, string entry, Request body, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        var key = await db.FindRootAsync(id, ct);
        var customer = await db.Whole().FirstAsync(c => c.Id == key, ct);
        ETags.RequireMatch(http, customer.Version);
        var change = (Ids.History.TryParse(entry, out var entryId)
            ? await db.AuditEntries.AsNoTracking().Include(e => e.Value).FirstOrDefaultAsync(e => e.Id == entryId && e.RecordType == Customer.RecordType && e.RecordId == key, ct)
            : null) ?? throw ProblemException.NotFound("entry of the history");
        if (change.Value is null)
        {
            throw new ProblemException(ProblemCodes.Conflict, "The values of this change were erased.");
        }

        if ((await HiddenValues.FindAsync(db, [key], ct)).Cover(key, change.At))
        {
            throw new ProblemException(ProblemCodes.Conflict, "The values of this change are not shown to the caller.");
        }

        var changes = JsonNode.Parse(change.Value.Changes)!.AsObject();
        var fields = await db.FieldsOfAsync(changes, body.Fields, ct);
        if (change.Action == "created")
        {
            throw new ProblemException(ProblemCodes.Conflict, "The customer was created by it; there is nothing before it to restore.");
        }

        var restored = Restored(customer.ToInput(), changes, fields);
        return await db.InTransactionAsync(() => PatchCustomer.SaveAsync(customer, restored, http, db, validation, clock, ct), ct);
    }

    /// <summary>The names of the fields, <c>attributes</c> as its members.</summary>
    /// <exception cref="ProblemException">403 when the caller does not write one, 400 when the change did not touch it.</exception>
    private static async Task<IReadOnlyCollection<string>> FieldsOfAsync(this ContactsDb db, JsonObject changes, List<string>? asked, CancellationToken ct)
    {
        var attributes = AttributeChanges.Between(changes[FieldJson.Attributes]?["old"], changes[FieldJson.Attributes]?["new"]).Select(a => AttributeChanges.FieldOf(a.Name)).ToHashSet(StringComparer.Ordinal);
        var names = (asked ?? [.. changes.Select(c => c.Key)]).SelectMany(f => f == FieldJson.Attributes && changes.ContainsKey(f) ? [.. attributes] : new[] { f }).ToList();
        // Before it is said what the change touched.
        if (!CallerRights.Current.AllFields && names.Exists(n => AttributeChanges.NameOf(n) is not null))
        {
            var own = await db.ReadAttributeGroupsAsync(ct);
            if (names.Select(AttributeChanges.NameOf).OfType<string>().FirstOrDefault(n => own.TryGetValue(n, out var group) && !CallerRights.Current.MayWrite(group)) is { } hidden)
            {
                throw FieldRules.Forbidden(FieldCatalog.Pointer(hidden), own[hidden]);
            }
        }

        var unknown = (asked ?? []).Select((name, index) => (name, index)).Where(f => f.name is null || !(changes.ContainsKey(f.name) || attributes.Contains(f.name))).ToList();
        if (unknown.Count > 0)
        {
            throw ProblemException.Invalid([.. unknown.Select(f => new FieldError($"/fields/{f.index}", "unknown_value", "This change did not touch such a field."))]);
        }

        // Of attributes those that are named were looked at; null would stand for all.
        FieldRules.RequireWritable<CustomerInput>(new(names.Select(n => AttributeChanges.NameOf(n) is null ? n : FieldJson.Attributes).Distinct(StringComparer.Ordinal)
            .Select(f => KeyValuePair.Create<string, JsonNode?>(f, f == FieldJson.Attributes ? new JsonObject() : null))));
        return names;
    }

    private static CustomerInput Restored(CustomerInput current, JsonObject changes, IReadOnlyCollection<string> fields)
    {
        var state = JsonSerializer.SerializeToNode(current, JsonDefaults.Options)!.AsObject();
        foreach (var field in fields)
        {
            if (AttributeChanges.NameOf(field) is { } attribute)
            {
                var attributes = state[FieldJson.Attributes]!.AsObject();
                attributes.Remove(attribute);
                if (changes[FieldJson.Attributes]!["old"]?[attribute] is { } value)
                {
                    attributes[attribute] = value.DeepClone();
                }
            }
            else
            {
                var (old, now) = (changes[field]!["old"], changes[field]!["new"]);
                state[field] = FieldJson.Lists.Contains(field) ? RestoredList.Of(field, old as JsonArray ?? [], now as JsonArray ?? [], state[field]!.AsArray()) : old?.DeepClone();
            }
        }

        return state.Deserialize<CustomerInput>(JsonDefaults.Options)!;
    }
}

using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.History;

/// <summary>
/// Gives fields the values that they had before a change of the history; needs <c>If-Match</c>. The restoring is a
/// change like any other, with an entry of its own. 409 <c>conflict</c> for the creation: there is nothing before it.
/// </summary>
internal static class RestoreFields
{
    public sealed record Request
    {
        /// <summary>Names of fields that the change touched; all of them when left out.</summary>
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

        if (HistoryEntry.HidesValues(change))
        {
            throw new ProblemException(ProblemCodes.Conflict, "The values of this change are not shown to the caller.");
        }

        var restored = Restored(customer.ToInput(), JsonNode.Parse(change.Value.Changes)!.AsObject(), body.Fields);
        if (change.Action == "created")
        {
            throw new ProblemException(ProblemCodes.Conflict, "The customer was created by it; there is nothing before it to restore.");
        }

        return await db.InTransactionAsync(() => PatchCustomer.SaveAsync(customer, restored, http, db, validation, clock, ct), ct);
    }

    private static CustomerInput Restored(CustomerInput current, JsonObject changes, List<string>? fields)
    {
        var unknown = (fields ?? []).Select((name, index) => (name, index)).Where(f => f.name is null || !changes.ContainsKey(f.name)).ToList();
        if (unknown.Count > 0)
        {
            throw ProblemException.Invalid([.. unknown.Select(f => new FieldError($"/fields/{f.index}", "unknown_value", "This change did not touch such a field."))]);
        }

        FieldRules.RequireWritable<CustomerInput>(new((fields ?? [.. changes.Select(c => c.Key)]).Distinct(StringComparer.Ordinal).Select(f => KeyValuePair.Create(f, (JsonNode?)null))));
        var state = JsonSerializer.SerializeToNode(current, JsonDefaults.Options)!.AsObject();
        foreach (var field in fields ?? [.. changes.Select(c => c.Key)])
        {
            state[field] = changes[field]!["old"]?.DeepClone();
        }

        return state.Deserialize<CustomerInput>(JsonDefaults.Options)!;
    }
}

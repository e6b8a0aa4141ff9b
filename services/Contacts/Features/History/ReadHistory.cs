using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.History;

/// <summary>
/// Who changed what in a customer's record, newest first; with <c>field</c> only the changes of this field.
/// </summary>
internal static class ReadHistory
{
    public static async Task<Ok<Page<HistoryEntry>>> Handle(string id, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        // A merged customer's own history stays readable under its own id.
        var state = Ids.Customer.TryParse(id, out var customer) ? await db.Customers.Where(c => c.Id == customer).Select(c => (CustomerState?)c.State).FirstOrDefaultAsync(ct) : null;
        if (state is null or CustomerState.Erased)
        {
            throw state is null ? ProblemException.NotFound("customer") : CustomerRoots.Erased();
        }

        if (state is CustomerState.Deleted or CustomerState.Merged)
        {
            await db.FindRootAsync(id, ct);
        }

        var page = PageRequest.Read(http.Request, Ids.History);
        var entries = db.AuditEntries.AsNoTracking().Include(e => e.Value).Where(e => e.RecordType == Customer.RecordType && e.RecordId == customer);
        if (http.Request.Query["field"] is [{ Length: > 0 } field])
        {
            if (!SlugAttribute.IsSlug(field))
            {
                throw ProblemException.InvalidParameter("field", "The name of a field, such as family_name.");
            }

            if (FieldRules.GroupOf<CustomerInput>(field) is { } group)
            {
                CallerRights.Current.RequireRead(group, "field");
            }

            // As AuditChanges writes it; inside a value the quotes would be escaped.
            var member = $"\"{field}\":{{\"old\":";
            entries = entries.Where(e => e.Value!.Changes.Contains(member));
        }

        var read = await entries.ToPageAsync(page, e => e.Id, Ids.History, e => e, ct);
        var ids = read.Data.Select(e => e.Id).ToList();
        var approved = await db.ChangeRequests.AsNoTracking().Where(r => r.HistoryIds.Any(h => ids.Contains(h))).Select(r => new { r.HistoryIds, r.Id, r.RequestedBy }).ToListAsync(ct);
        var requests = approved.SelectMany(r => r.HistoryIds.Select(h => (Entry: h, Request: r))).ToDictionary(r => r.Entry, r => r.Request);
        return TypedResults.Ok(new Page<HistoryEntry>(
            [.. read.Data.Select(e => requests.TryGetValue(e.Id, out var r) ? HistoryEntry.Of(e) with { ChangeRequestId = Ids.ChangeRequest.Format(r.Id), RequestedBy = r.RequestedBy } : HistoryEntry.Of(e))],
            read.HasMore, read.NextCursor));
    }
}

/// <summary>One change: what the fields that the caller may see were before and after it.</summary>
/// <param name="Actor">The key or user, or <c>svc:…</c> for the platform's own work.</param>
/// <param name="Action"><c>created</c>, <c>updated</c>, …</param>
/// <param name="Changes">Null when the values were erased, and of a merge or its undo for who has a row filter; that there was a change stays.</param>
public sealed record HistoryEntry(string Id, DateTimeOffset At, string Actor, string? TraceId, string Action, IReadOnlyList<FieldChange>? Changes)
{
    /// <summary>The change request that <c>actor</c> approved; null for a change that was made at once.</summary>
    public string? ChangeRequestId { get; init; }

    /// <summary>Who asked for the change that <c>actor</c> approved.</summary>
    public string? RequestedBy { get; init; }

    internal static HistoryEntry Of(AuditEntry entry) => new(
        Ids.History.Format(entry.Id), entry.At, entry.Actor, entry.TraceId, entry.Action,
        entry.Value is { } value && !HidesValues(entry) ? Shown(JsonNode.Parse(value.Changes)!.AsObject()) : null);

    /// <summary>What a merge gave to a record, and its undo took, is another record's, which is in other rows maybe.</summary>
    internal static bool HidesValues(AuditEntry entry) => CallerRights.Current.Rows is not null && entry.Action is "merged" or "unmerged";

    private static List<FieldChange> Shown(JsonObject changes)
    {
        JsonObject Side(string side) => FieldRules.Show<CustomerInput>(new(changes.Select(c => KeyValuePair.Create(c.Key, c.Value![side]?.DeepClone()))));
        var (old, now) = (Side("old"), Side("new"));
        return [.. old.Select(c => new FieldChange(c.Key, c.Value?.DeepClone(), now[c.Key]?.DeepClone()))];
    }
}

public sealed record FieldChange(string Field, JsonNode? Old, JsonNode? New);

using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Merges;
using Crm.Contacts.Features.CustomFields;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.History;

/// <summary>
/// Who changed what in a customer's record, newest first; with <c>field</c> only the changes of this field. Each attribute is
/// a field: <c>attributes.NAME</c>.
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
        var hidden = await HiddenValues.FindAsync(db, [customer], ct);
        if (http.Request.Query["field"] is [{ Length: > 0 } field])
        {
            // Nor is it told of an entry whose values are hidden which fields it has.
            entries = hidden.Without(customer, await db.WithChangeOfAsync(field, customer, entries, ct));
        }

        var read = await entries.ToPageAsync(page, e => e.Id, Ids.History, e => e, ct);
        var ids = read.Data.Select(e => e.Id).ToList();
        var approved = await db.ChangeRequests.AsNoTracking().Where(r => r.HistoryIds.Any(h => ids.Contains(h))).Select(r => new { r.HistoryIds, r.Id, r.RequestedBy }).ToListAsync(ct);
        var requests = approved.SelectMany(r => r.HistoryIds.Select(h => (Entry: h, Request: r))).ToDictionary(r => r.Entry, r => r.Request);
        return TypedResults.Ok(new Page<HistoryEntry>(
            [.. read.Data.Select(e => requests.TryGetValue(e.Id, out var r) ? Shown(e) with { ChangeRequestId = Ids.ChangeRequest.Format(r.Id), RequestedBy = r.RequestedBy } : Shown(e))],
            read.HasMore, read.NextCursor));

        HistoryEntry Shown(AuditEntry entry) => HistoryEntry.Of(entry, hidden.Cover(customer, entry.At));
    }

    private static async Task<IQueryable<AuditEntry>> WithChangeOfAsync(this ContactsDb db, string field, Guid customer, IQueryable<AuditEntry> entries, CancellationToken ct)
    {
        var attribute = AttributeChanges.NameOf(field);
        if (!SlugAttribute.IsSlug(attribute ?? field))
        {
            throw ProblemException.InvalidParameter("field", "The name of a field, such as family_name or attributes.shoe_size.");
        }

        if (FieldRules.GroupOf<CustomerInput>(attribute is null ? field : FieldJson.Attributes) is { } group)
        {
            CallerRights.Current.RequireRead(group, "field");
        }

        if (attribute is null)
        {
            // As AuditChanges writes it; inside a value the quotes would be escaped.
            var member = $"\"{field}\":{{\"old\":";
            return entries.Where(e => e.Value!.Changes.Contains(member));
        }

        if (!CallerRights.Current.AllFields && (await db.ReadAttributeGroupsAsync(ct)).TryGetValue(attribute, out var own))
        {
            CallerRights.Current.RequireRead(own, "field");
        }

        var touched = db.Database.SqlQuery<Guid>($"""
            SELECT e.id AS "Value" FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id
            WHERE e.record_type = {Customer.RecordType} AND e.record_id = {customer}
                AND v.changes::jsonb #> ARRAY['attributes', 'old', {attribute}] IS DISTINCT FROM v.changes::jsonb #> ARRAY['attributes', 'new', {attribute}]
            """);
        return entries.Where(e => touched.Contains(e.Id));
    }
}

/// <summary>One change: what the fields that the caller may see were before and after it.</summary>
/// <param name="Actor">The key or user, or <c>svc:…</c> for the platform's own work.</param>
/// <param name="Action"><c>created</c>, <c>updated</c>, …</param>
/// <param name="Changes">Null when the values were erased, and, for who does not see every customer of a merge, those of it, of its undo and between them; that there was a change stays.</param>
public sealed record HistoryEntry(string Id, DateTimeOffset At, string Actor, string? TraceId, string Action, IReadOnlyList<FieldChange>? Changes)
{
    /// <summary>The change request that <c>actor</c> approved; null for a change that was made at once.</summary>
    public string? ChangeRequestId { get; init; }

    /// <summary>Who asked for the change that <c>actor</c> approved.</summary>
    public string? RequestedBy { get; init; }

    internal static HistoryEntry Of(AuditEntry entry, bool hidden) => new(
        Ids.History.Format(entry.Id), entry.At, entry.Actor, entry.TraceId, entry.Action,
        entry.Value is { } value && !hidden ? Shown(JsonNode.Parse(value.Changes)!.AsObject()) : null);

    private static List<FieldChange> Shown(JsonObject changes)
    {
        JsonObject Side(string side) => FieldRules.Show<CustomerInput>(new(changes.Select(c => KeyValuePair.Create(c.Key, c.Value![side]?.DeepClone()))));
        var (old, now) = (Side("old"), Side("new"));
        return [.. old.SelectMany(c => c.Key == FieldJson.Attributes
            ? AttributeChanges.Between(c.Value, now[c.Key]).Select(a => new FieldChange(AttributeChanges.FieldOf(a.Name), a.Old?.DeepClone(), a.New?.DeepClone()))
            : [new FieldChange(c.Key, c.Value?.DeepClone(), now[c.Key]?.DeepClone())])];
    }
}

/// <param name="Field">Its name; <c>attributes.NAME</c> of an attribute.</param>
public sealed record FieldChange(string Field, JsonNode? Old, JsonNode? New);

/// <summary>The attributes as fields of their own. An entry has all that there were, before and after its change.</summary>
internal static class AttributeChanges
{
    private const string Prefix = $"{FieldJson.Attributes}.";

    public static string FieldOf(string name) => $"{Prefix}{name}";

    /// <summary>Null when the field is no attribute.</summary>
    public static string? NameOf(string? field) => field?.StartsWith(Prefix, StringComparison.Ordinal) is true ? field[Prefix.Length..] : null;

    /// <summary>Those that differ; null stands for none.</summary>
    public static IEnumerable<(string Name, JsonNode? Old, JsonNode? New)> Between(JsonNode? old, JsonNode? now)
    {
        var (had, has) = (old as JsonObject ?? [], now as JsonObject ?? []);
        return had.Select(a => a.Key).Union(has.Select(a => a.Key), StringComparer.Ordinal)
            .Where(name => !JsonNode.DeepEquals(had[name], has[name])).Select(name => (name, had[name], has[name]));
    }
}

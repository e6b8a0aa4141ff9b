using System.Text.Json.Serialization;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Tags;

/// <summary>The tags that there are, newest first; and one by its name, with the number of customers who have it for who sees their tags.</summary>
internal static class ReadTags
{
    public static async Task<Page<TagView>> List(HttpRequest request, ContactsDb db, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.Tag);
        var changes = await db.TagChanges.AsNoTracking().OrderBy(c => c.Id).ToListAsync(ct);
        return await db.Tags.AsNoTracking().ToPageAsync(page, t => t.Id, Ids.Tag, t => TagView.Of(t, changes), ct);
    }

    public static async Task<Ok<TagView>> One(string name, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var tag = await db.Tags.AsNoTracking().FirstOrDefaultAsync(t => t.Name == name, ct) ?? throw ProblemException.NotFound("tag");
        string[] names = [name];
        long? customers = CallerRights.Current.Read(FieldGroups.CustomFields) == FieldAccess.Allow
            ? await db.Customers.Living().LongCountAsync(c => c.Tags.Count > 0 && names.All(t => c.Tags.Contains(t)), ct)
            : null;
        // Of what people say of it: who has it goes its own way, so there is no 304.
        http.Response.Headers.ETag = ETags.Of(tag.Version);
        return TypedResults.Ok(await db.ViewAsync(tag, ct) with { Customers = customers });
    }

    public static async Task<TagView> ViewAsync(this ContactsDb db, Tag tag, CancellationToken ct) =>
        TagView.Of(tag, await db.TagChanges.AsNoTracking().Where(c => c.To == tag.Name).OrderBy(c => c.Id).ToListAsync(ct));
}

/// <summary>A tag as the API shows it.</summary>
/// <param name="RenamingFrom">The name that some customers still have it under; null when all have this one.</param>
/// <param name="Version">0 until somebody describes it.</param>
public sealed record TagView(string Id, string Name, string? Colour, string? Description, string? RenamingFrom, long Version, DateTimeOffset CreatedAt, DateTimeOffset UpdatedAt)
{
    /// <summary>How many customers have it; not in lists, nor for who does not see the custom fields of customers.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? Customers { get; init; }

    internal static TagView Of(Tag tag, IEnumerable<TagChange> changes) => new(
        Ids.Tag.Format(tag.Id), tag.Name, tag.Colour, tag.Description, changes.FirstOrDefault(c => c.To == tag.Name)?.From, tag.Version, tag.CreatedAt, tag.UpdatedAt);
}

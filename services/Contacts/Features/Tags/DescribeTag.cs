using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Tags;

/// <summary>
/// Says what a tag is for; 201 when nobody has used it yet, else 200. 409 <c>conflict</c> when somebody has described it, or
/// while customers still have it from before it was renamed or removed.
/// </summary>
internal static class DescribeTag
{
    public static async Task<IResult> Handle(TagInput body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        var (tag, isNew) = await db.InTransactionAsync(async () =>
        {
            var id = Guid.CreateVersion7(now);
            var added = await db.Database.ExecuteSqlAsync($"""
                INSERT INTO tags (id, version, name, created_at, updated_at)
                SELECT {id}, 0, {body.Name}, {now}, {now} WHERE NOT EXISTS (SELECT FROM tag_changes WHERE "from" = {body.Name})
                ON CONFLICT (name) DO NOTHING
                """, ct);
            var tag = (await db.Tags.ForUpdate($"name = {body.Name}").ToListAsync(ct)).SingleOrDefault()
                ?? throw InUse();
            if (tag.IsDescribed)
            {
                throw new ProblemException(ProblemCodes.Conflict, "The tag is described already; change it.", new FieldError("/name", "already_exists"))
                {
                    Extensions = new Dictionary<string, object?> { ["existing_id"] = Ids.Tag.Format(tag.Id) },
                };
            }

            tag.Describe(body, now);
            db.AuditRow(Tag.RecordType, tag.Id, null, tag);
            await db.SaveChangesAsync(ct);
            return (tag, added > 0);
        }, ct);
        http.Response.Headers.ETag = ETags.Of(tag.Version);
        var view = await db.ViewAsync(tag, ct);
        return isNew ? TypedResults.Created($"/v1/tags/{tag.Name}", view) : TypedResults.Ok(view);
    }

    public static ProblemException InUse() =>
        new(ProblemCodes.Conflict, "The tag of this name was renamed or removed, and some customers have it still.", new FieldError("/name", "in_use"));
}

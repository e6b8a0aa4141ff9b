using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.Contacts.Features.Tags;

/// <summary>
/// Changes what is said of a tag, by merge patch, or removes it: with <c>into</c>, whoever has it gets that other tag
/// instead. Both need <c>If-Match</c>. Another name, and none, come to all customers little by little afterwards
/// (<see cref="RetagCustomers"/>). 409 <c>conflict</c> when there is a tag of the new name, or while customers still have it
/// from before it was renamed or removed.
/// </summary>
internal static class ChangeTag
{
    public static readonly string[] DeleteParameters = ["into"];

    public static async Task<Ok<TagView>> Patch(string name, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        var patch = await MergePatch.ReadAsync(http.Request, ct);
        var now = clock.GetUtcNow();
        var tag = await db.InTransactionAsync(async () =>
        {
            var tag = await HoldAsync(name, http, db, ct);
            var input = MergePatch.Apply(tag.ToInput(), patch);
            await validation.EnsureValidAsync(input, ct);
            if (input.Name != name)
            {
                await RequireFreeAsync(input.Name!, db, ct);
                Carry(name, input.Name, http, db, now);
            }

            if (tag.Describe(input, now))
            {
                db.AuditRow(Tag.RecordType, tag.Id, null, tag);
                await SaveAsync(db, ct);
            }

            return tag;
        }, ct);
        http.Response.Headers.ETag = ETags.Of(tag.Version);
        return TypedResults.Ok(await db.ViewAsync(tag, ct));
    }

    public static async Task<NoContent> Delete(string name, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        string? into = http.Request.Query[DeleteParameters[0]] is [var text] ? text : null;
        if (into == name)
        {
            throw ProblemException.InvalidParameter(DeleteParameters[0], "Another tag than the one that is removed.");
        }

        return await db.InTransactionAsync(async () =>
        {
            // In one order, whichever of two is removed into the other.
            var held = await db.Tags.ForUpdate($"name IN ({name}, {into ?? name}) ORDER BY name").ToListAsync(ct);
            var tag = held.Find(t => t.Name == name) ?? throw ProblemException.NotFound("tag");
            ETags.RequireMatch(http, tag.Version);
            if (into is not null && held.Count < 2)
            {
                throw ProblemException.InvalidParameter(DeleteParameters[0], "A tag that there is.");
            }

            Carry(name, into, http, db, clock.GetUtcNow());
            db.Tags.Remove(tag);
            db.AuditRow(Tag.RecordType, tag.Id, null, tag);
            await db.SaveChangesAsync(ct);
            return TypedResults.NoContent();
        }, ct);
    }

    private static async Task<Tag> HoldAsync(string name, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var tag = (await db.Tags.ForUpdate($"name = {name}").ToListAsync(ct)).SingleOrDefault() ?? throw ProblemException.NotFound("tag");
        ETags.RequireMatch(http, tag.Version);
        return tag;
    }

    /// <summary>Customers of every department change with it.</summary>
    private static void Carry(string from, string? to, HttpContext http, ContactsDb db, DateTimeOffset now)
    {
        OwnershipRules.RequireAllDepartments();
        db.TagChanges.Add(new(Guid.CreateVersion7(now), from, to, http.User.Subject(), now));
    }

    private static async Task RequireFreeAsync(string name, ContactsDb db, CancellationToken ct)
    {
        if (await db.Tags.AnyAsync(t => t.Name == name, ct))
        {
            throw Taken();
        }

        // The change under way would take it away from those who get it now.
        if (await db.TagChanges.AnyAsync(c => c.From == name, ct))
        {
            throw DescribeTag.InUse();
        }
    }

    private static async Task SaveAsync(ContactsDb db, CancellationToken ct)
    {
        try
        {
            await db.SaveChangesAsync(ct);
        }
        catch (DbUpdateException exception) when (exception.InnerException is PostgresException { ConstraintName: ContactsDb.TagNameKey })
        {
            throw Taken();
        }
    }

    private static ProblemException Taken() => new(ProblemCodes.Conflict, "There is a tag of this name.", new FieldError("/name", "already_exists"));
}

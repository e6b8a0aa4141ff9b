using Crm.Contacts.Domain.Imports;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Imports;

/// <summary>Saved mappings, and the ready ones for exports of other products, which cannot be changed.</summary>
internal static class ImportMappings
{
    /// <param name="Ready">Comes with the product.</param>
    public sealed record MappingView(string Name, bool Ready, ImportMapping Mapping, long Version);

    public static async Task<Page<MappingView>> List(ContactsDb db, CancellationToken ct)
    {
        var saved = await db.ImportMappings.AsNoTracking().OrderBy(m => m.Name).ToListAsync(ct);
        return new([.. ReadyMappings.All.Select(m => new MappingView(m.Key, true, m.Value, 1)), .. saved.Select(View)], HasMore: false, NextCursor: null);
    }

    public static async Task<IResult> One(string name, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var view = ReadyMappings.All.TryGetValue(name, out var ready) ? new(name, true, ready, 1)
            : await db.ImportMappings.AsNoTracking().FirstOrDefaultAsync(m => m.Name == name, ct) is { } saved ? View(saved)
            : throw ProblemException.NotFound("mapping");
        return ETags.Ok(http, view.Version, view);
    }

    /// <summary>Saves it under the name, whether there was one or not; imports that have begun keep the one they began with.</summary>
    public static async Task<Ok<MappingView>> Put(string name, ImportMapping body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        if (!SlugAttribute.IsSlug(name))
        {
            throw ProblemException.InvalidParameter("name", "Lower-case letters, digits, _ - and . only, 1 to 64 of them.");
        }

        if (ReadyMappings.All.ContainsKey(name))
        {
            throw new ProblemException(ProblemCodes.Conflict, "This is the name of a mapping that comes with the product; take another one.");
        }

        var saved = await db.InTransactionAsync(async () =>
        {
            await db.LockAsync([$"import mapping {name}"], ct);
            var mapping = await db.ImportMappings.FirstOrDefaultAsync(m => m.Name == name, ct);
            if (mapping is null)
            {
                mapping = new SavedMapping { Name = name };
                db.ImportMappings.Add(mapping);
            }

            mapping.Definition = body;
            mapping.Version++;
            mapping.UpdatedAt = clock.GetUtcNow();
            await db.SaveChangesAsync(ct);
            return mapping;
        }, ct);
        http.Response.Headers.ETag = ETags.Of(saved.Version);
        return TypedResults.Ok(View(saved));
    }

    public static async Task<NoContent> Delete(string name, ContactsDb db, CancellationToken ct) =>
        await db.ImportMappings.Where(m => m.Name == name).ExecuteDeleteAsync(ct) > 0 ? TypedResults.NoContent() : throw ProblemException.NotFound("mapping");

    /// <summary>Ready or saved; null when there is none of the name.</summary>
    public static async Task<ImportMapping?> FindMappingAsync(this ContactsDb db, string name, CancellationToken ct) =>
        ReadyMappings.All.TryGetValue(name, out var ready)
            ? ready
            : await db.ImportMappings.AsNoTracking().Where(m => m.Name == name).Select(m => m.Definition).FirstOrDefaultAsync(ct);

    private static MappingView View(SavedMapping saved) => new(saved.Name, false, saved.Definition, saved.Version);
}

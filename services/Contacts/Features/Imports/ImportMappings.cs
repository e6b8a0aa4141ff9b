using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Imports;
using Crm.Contacts.Features.CustomFields;
using Crm.Contracts;
using Crm.Hosting.Audit;
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
    public static async Task<Ok<MappingView>> Put(
        string name, ImportMapping body, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        if (!SlugAttribute.IsSlug(name))
        {
            throw ProblemException.InvalidParameter("name", "Lower-case letters, digits, _ - and . only, 1 to 64 of them.");
        }

        if (ReadyMappings.All.ContainsKey(name))
        {
            throw new ProblemException(ProblemCodes.Conflict, "This is the name of a mapping that comes with the product; take another one.");
        }

        var errors = await FindUnfitAsync(body, await db.ReadFieldsAsync(ct), validation, ct);
        if (errors.Count > 0)
        {
            throw ProblemException.Invalid(errors);
        }

        var saved = await db.InTransactionAsync(async () =>
        {
            await db.LockAsync([$"import mapping {name}"], ct);
            var mapping = await db.ImportMappings.FirstOrDefaultAsync(m => m.Name == name, ct);
            var (before, now) = (mapping is null ? null : View(mapping), clock.GetUtcNow());
            if (mapping is null)
            {
                mapping = new SavedMapping { Name = name, Id = Guid.CreateVersion7(now) };
                db.ImportMappings.Add(mapping);
            }

            mapping.Definition = body;
            mapping.Version++;
            mapping.UpdatedAt = now;
            db.Audit(before is null ? "created" : "updated", SavedMapping.RecordType, mapping.Id, null, AuditChanges.Between(before, View(mapping)));
            await db.SaveChangesAsync(ct);
            return mapping;
        }, ct);
        http.Response.Headers.ETag = ETags.Of(saved.Version);
        return TypedResults.Ok(View(saved));
    }

    public static Task<NoContent> Delete(string name, ContactsDb db, CancellationToken ct) => db.InTransactionAsync(async () =>
    {
        await db.LockAsync([$"import mapping {name}"], ct);
        var mapping = await db.ImportMappings.FirstOrDefaultAsync(m => m.Name == name, ct) ?? throw ProblemException.NotFound("mapping");
        db.ImportMappings.Remove(mapping);
        db.Audit("deleted", SavedMapping.RecordType, mapping.Id, null, AuditChanges.Between(View(mapping), null));
        await db.SaveChangesAsync(ct);
        return TypedResults.NoContent();
    }, ct);

    /// <summary>Ready or saved; null when there is none of the name.</summary>
    public static async Task<ImportMapping?> FindMappingAsync(this ContactsDb db, string name, CancellationToken ct) =>
        ReadyMappings.All.TryGetValue(name, out var ready)
            ? ready
            : await db.ImportMappings.AsNoTracking().Where(m => m.Name == name).Select(m => m.Definition).FirstOrDefaultAsync(ct);

    /// <summary>Defaults, and what values become, that no customer can have; what is missing beside them is a matter of the file.</summary>
    private static async Task<List<FieldError>> FindUnfitAsync(ImportMapping mapping, FieldCatalog fields, Validation validation, CancellationToken ct)
    {
        var compiled = new CompiledMapping(mapping with { Values = null }, [], fields);
        var said = (mapping.Defaults ?? []).Select(d => (Path: $"/defaults/{Escaped(d.Key)}", Target: d.Key, d.Value))
            .Concat((mapping.Values ?? []).SelectMany(v => v.Value.Select(w => (Path: $"/values/{Escaped(v.Key)}/{Escaped(w.Key)}", Target: v.Key, w.Value))));
        var unfit = new List<FieldError>();
        foreach (var (path, text, value) in said)
        {
            if (ImportTarget.Parse(text) is not { Kind: not (TargetKind.Ignore or TargetKind.Deleted) } target)
            {
                continue;
            }

            var errors = new List<FieldError>();
            try
            {
                await validation.EnsureValidAsync(compiled.Of(target, value, errors).Deserialize<CustomerInput>(JsonDefaults.Options)!, ct);
            }
            catch (JsonException exception)
            {
                errors.AddRange(Problems.DescribeJson(exception).Errors);
            }
            catch (ProblemException problem)
            {
                errors.AddRange(problem.Errors);
            }

            if (errors.Find(e => e.Code != "required") is { } wrong)
            {
                unfit.Add(wrong with { Pointer = path });
            }
        }

        return unfit;

        static string Escaped(string name) => name.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal);
    }

    private static MappingView View(SavedMapping saved) => new(saved.Name, false, saved.Definition, saved.Version);
}

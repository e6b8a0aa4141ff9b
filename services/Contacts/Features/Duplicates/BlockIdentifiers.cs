using System.ComponentModel.DataAnnotations;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Duplicates;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>
/// E-mail addresses and phone numbers that many share, such as an office's: they never count as agreement, neither at entry
/// nor in a scan. Who has one is looked at again by the next scan.
/// </summary>
internal static class BlockIdentifiers
{
    public sealed record Request : IValidatableObject
    {
        [Required]
        public IdentifierKind? Kind { get; init; }

        [Required]
        [FieldGroup(FieldGroups.ContactDetails)]
        public string? Value { get; init; }

        /// <summary>Whose it is, or why it proves nothing.</summary>
        [Required, Line(500)]
        public string? Reason { get; init; }

        public IEnumerable<ValidationResult> Validate(ValidationContext validationContext) => Kind == IdentifierKind.Email
            ? new Email { Address = Value! }.Validate(validationContext).Select(r => new ValidationResult(r.ErrorMessage, [nameof(Value)]))
            : new Phone { Number = Value! }.Validate(validationContext).Select(r => new ValidationResult(r.ErrorMessage, [nameof(Value)]));
    }

    public sealed record BlockedIdentifierView(string Id, IdentifierKind Kind, [property: FieldGroup(FieldGroups.ContactDetails)] string Value, string Reason, string Actor, DateTimeOffset CreatedAt)
    {
        internal static BlockedIdentifierView Of(BlockedIdentifier blocked) => new(Ids.BlockedIdentifier.Format(blocked.Id), blocked.Kind, blocked.Value, blocked.Reason, blocked.Actor, blocked.CreatedAt);
    }

    /// <summary>201; the one that is there when the value is blocked already.</summary>
    public static async Task<Created<BlockedIdentifierView>> Handle(Request body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var kind = body.Kind!.Value;
        var value = kind == IdentifierKind.Email ? Email.Normalize(body.Value!).ToLowerInvariant() : Phone.Normalize(body.Value!);
        var blocked = await db.InTransactionAsync(async () =>
        {
            await db.LockAsync([$"blocked {kind.ToWord()} {value}"], ct);
            if (await db.BlockedIdentifiers.AsNoTracking().FirstOrDefaultAsync(b => b.Kind == kind && b.Value == value, ct) is { } there)
            {
                return there;
            }

            var now = clock.GetUtcNow();
            var added = new BlockedIdentifier(Guid.CreateVersion7(now), kind, value, body.Reason!, http.User.Subject(), now);
            db.BlockedIdentifiers.Add(added);
            await SaveAsync(db, added, ct);
            return added;
        }, ct);
        var view = BlockedIdentifierView.Of(blocked);
        return TypedResults.Created($"/v1/blocked-identifiers/{view.Id}", view);
    }

    public static Task<Page<BlockedIdentifierView>> List(HttpRequest request, ContactsDb db, CancellationToken ct) =>
        db.BlockedIdentifiers.AsNoTracking().ToPageAsync(PageRequest.Read(request, Ids.BlockedIdentifier), b => b.Id, Ids.BlockedIdentifier, BlockedIdentifierView.Of, ct);

    public static async Task<Ok<BlockedIdentifierView>> Read(string id, ContactsDb db, CancellationToken ct) => TypedResults.Ok(BlockedIdentifierView.Of(await FindAsync(db, id, ct)));

    /// <summary>The value counts again.</summary>
    public static async Task<NoContent> Delete(string id, ContactsDb db, CancellationToken ct)
    {
        await db.InTransactionAsync(async () =>
        {
            var blocked = await FindAsync(db, id, ct);
            db.BlockedIdentifiers.Remove(blocked);
            await SaveAsync(db, blocked, ct);
            return true;
        }, ct);
        return TypedResults.NoContent();
    }

    private static async Task SaveAsync(ContactsDb db, BlockedIdentifier blocked, CancellationToken ct)
    {
        db.AuditRow(BlockedIdentifier.RecordType, blocked.Id, null, blocked);
        await db.SaveChangesAsync(ct);
        var kind = blocked.Kind.ToWord();
        await db.Database.ExecuteSqlAsync($"""
            INSERT INTO duplicate_changes (customer_id, version)
            SELECT c.id, c.version FROM customer_identifiers i JOIN customers c ON c.id = i.customer_id WHERE i.kind = {kind} AND i.value = {blocked.Value}
            ON CONFLICT DO NOTHING
            """, ct);
    }

    private static async Task<BlockedIdentifier> FindAsync(ContactsDb db, string id, CancellationToken ct) =>
        Ids.BlockedIdentifier.TryParse(id, out var key) && await db.BlockedIdentifiers.FirstOrDefaultAsync(b => b.Id == key, ct) is { } blocked
            ? blocked
            : throw ProblemException.NotFound("blocked identifier");
}

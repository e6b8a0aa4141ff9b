using System.Buffers.Text;
using System.ComponentModel.DataAnnotations;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Merges;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.Lifecycles;
using Crm.Contacts.Features.Relationships;
using Crm.Contracts;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.Merges;

/// <summary>
/// Shows what a merge of these records would do and gives a token for it: per field the value that survives and why, per
/// service the rows that will move, what forbids it, and the circles that it would close. Nothing is changed. Ids of merged customers stand for their
/// survivors. 409 <c>preview_outdated</c> when a record changed meanwhile. 422 <c>unprocessable</c> when the merged record would not
/// be a valid one, or the chosen source names one of them as the referrer.
/// </summary>
internal static class PreviewMerge
{
    public static readonly TimeSpan Lifetime = TimeSpan.FromHours(1);

    /// <summary>Of one whose merge waits for an approval.</summary>
    public static readonly TimeSpan LifetimeForApproval = TimeSpan.FromDays(30);

    public sealed record Request
    {
        /// <summary>The records that are one customer, 2 to 50 with the survivor.</summary>
        [Required, MinLength(1), AtMost(50)]
        public List<string>? CustomerIds { get; init; }

        /// <summary>Whose id goes on.</summary>
        [Required]
        public string? SurvivorId { get; init; }

        /// <summary>
        /// By field, such as <c>given_name</c> or <c>attributes.colour</c>: the customer whose value survives; for
        /// <c>emails</c>, <c>phones</c> and <c>addresses</c> whose primary one becomes the primary.
        /// </summary>
        public Dictionary<string, string>? Choices { get; init; }
    }

    /// <param name="Token">For <c>POST /v1/merges</c>; as long as none of the records changes.</param>
    public sealed record Response(string Token, DateTimeOffset ExpiresAt, Manifest Manifest);

    /// <param name="Circles">Which of the organisations would belong to themselves. That forbids nothing: the hierarchy is shown cut.</param>
    public sealed record Manifest(
        string SurvivorId,
        IReadOnlyList<string> AbsorbedIds,
        IReadOnlyDictionary<string, FieldOrigin> Fields,
        IReadOnlyList<ServiceImpact> Services,
        IReadOnlyList<BlockerView> Blockers,
        IReadOnlyList<CircleView> Circles);

    public static async Task<Created<Response>> Handle(
        Request body, ContactsDb db, MergeImpact impact, Validation validation, IOptions<MergeOptions> options, TimeProvider clock, CancellationToken ct)
    {
        var survivorId = await ResolveAsync(db, body.SurvivorId!, "/survivor_id", ct);
        var members = new List<Guid>();
        foreach (var (id, index) in body.CustomerIds!.Select((id, i) => (id, i)))
        {
            var member = await ResolveAsync(db, id, $"/customer_ids/{index}", ct);
            if (members.Contains(member))
            {
                throw IntoItself($"/customer_ids/{index}");
            }

            members.Add(member);
        }

        var absorbedIds = members.Where(m => m != survivorId).ToList();
        if (absorbedIds.Count == 0)
        {
            throw IntoItself("/customer_ids");
        }

        var customers = await db.Whole().AsNoTracking().Where(c => c.Id == survivorId || absorbedIds.Contains(c.Id)).ToDictionaryAsync(c => c.Id, ct);
        var survivor = customers[survivorId];
        var absorbed = absorbedIds.ConvertAll(id => customers[id]);
        if (absorbed.Exists(c => c.Kind != survivor.Kind))
        {
            throw new ProblemException(ProblemCodes.Unprocessable, "A person and an organization are not one customer.", new FieldError("/customer_ids", "different_kinds"));
        }

        var choices = await ReadChoicesAsync(db, body.Choices ?? [], customers.Keys, ct);
        RequireOtherReferrer(choices, customers);
        var now = clock.GetUtcNow();
        var layer = new MergeLayer(Guid.Empty, now, MergePlan.Order(absorbed, options.Value), choices);
        var (fields, origins) = MergePlan.Preview(survivor, absorbed, layer, options.Value);
        if (!choices.ContainsKey("lifecycle") && await db.HeldLifecycleAsync(survivorId, [.. customers.Keys], ct) is { } held)
        {
            origins["lifecycle"] = new(held.ToState.ToWord(), [Ids.Customer.Format(held.CustomerId)], held.CustomerId == survivorId ? FieldRule.Survivor : FieldRule.MostRecent);
        }

        await RequireValidAsync(survivor.ToInput(), fields, await db.ReadFieldsAsync(ct), validation, ct);

        var (services, blockers) = await impact.AskAsync(db, survivorId, absorbedIds, ct);
        services.Insert(0, await OwnImpactAsync(db, absorbedIds, survivorId, ct));
        var circles = await MergeCircles.FindAsync(db, [survivorId, .. absorbedIds], clock.Today(), ct);
        var manifest = new Manifest(Ids.Customer.Format(survivorId), [.. absorbedIds.Select(id => Ids.Customer.Format(id))], origins, services, blockers, circles);
        var token = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));
        var preview = new MergePreview
        {
            TokenHash = HashOf(token),
            SurvivorId = survivorId,
            Members = [.. customers.Values.Select(c => new MemberVersion(c.Id, c.Version))],
            Choices = choices,
            Manifest = JsonSerializer.SerializeToDocument(manifest, JsonDefaults.Options),
            ExpiresAt = now + Lifetime,
        };
        await db.InTransactionAsync(() => KeepAsync(db, preview, now, ct), ct);
        return TypedResults.Created((string?)null, new Response(token, preview.ExpiresAt, manifest with { Fields = manifest.Fields.Shown() }));
    }

    public static byte[] HashOf(string token) => SHA256.HashData(Encoding.UTF8.GetBytes(token));

    /// <summary>
    /// Only of customers who are there still: an erasure takes the previews that are there, so none may come after it. Of records
    /// that changed meanwhile the merge says so.
    /// </summary>
    private static async Task<int> KeepAsync(ContactsDb db, MergePreview preview, DateTimeOffset now, CancellationToken ct)
    {
        var ids = preview.Members.Select(m => m.Id).ToArray();
        await db.LockCustomersAsync(ids, ct);
        var present = await db.Customers.Where(c => ids.Contains(c.Id) && c.State == CustomerState.Active).Select(c => c.Id).ToListAsync(ct);
        if (preview.Members.Find(m => !present.Contains(m.Id)) is { } gone)
        {
            throw new ProblemException(ProblemCodes.PreviewOutdated, $"{Ids.Customer.Format(gone.Id)} went at this moment; preview again.");
        }

        await db.Database.ExecuteSqlAsync($"DELETE FROM merge_previews WHERE expires_at < {now - Lifetime} AND merge_id IS NULL", ct);
        db.MergePreviews.Add(preview);
        return await db.SaveChangesAsync(ct);
    }

    private static ProblemException IntoItself(string pointer) => new(
        ProblemCodes.MergeIntoItself, "The ids stand for the same customer.", new FieldError(pointer, "same_customer"));

    private static async Task<Guid> ResolveAsync(ContactsDb db, string id, string pointer, CancellationToken ct)
    {
        var root = Ids.Customer.TryParse(id, out var key)
            ? await db.RootOfAsync(key, ct)
            : throw ProblemException.Invalid(new FieldError(pointer, "wrong_format", "A customer id, cus_…"));
        return await db.Customers.AnyAsync(c => c.Id == root && c.State == CustomerState.Active, ct)
            ? root!.Value
            : throw new ProblemException(ProblemCodes.UnknownCustomer, "There is no such customer.", new FieldError(pointer, "unknown_customer"));
    }

    private static async Task<Dictionary<string, Guid>> ReadChoicesAsync(ContactsDb db, Dictionary<string, string> choices, IReadOnlyCollection<Guid> members, CancellationToken ct)
    {
        var read = new Dictionary<string, Guid>(StringComparer.Ordinal);
        foreach (var (field, id) in choices)
        {
            var pointer = $"/choices/{field}";
            if (!FieldJson.Singles.Contains(field) && field is not ("emails" or "phones" or "addresses") && !field.StartsWith($"{FieldJson.Attributes}.", StringComparison.Ordinal))
            {
                throw ProblemException.Invalid(new FieldError(pointer, "unknown_field", $"One of {string.Join(", ", FieldJson.Singles)}, emails, phones, addresses, attributes.<name>."));
            }

            var member = await ResolveAsync(db, id, pointer, ct);
            read[field] = members.Contains(member) ? member : throw ProblemException.Invalid(new FieldError(pointer, "not_a_member", "One of the merged customers."));
        }

        return read;
    }

    /// <summary>A source that was not chosen is passed over then.</summary>
    private static void RequireOtherReferrer(Dictionary<string, Guid> choices, Dictionary<Guid, Customer> customers)
    {
        if (choices.TryGetValue(FieldJson.Source, out var chosen) && customers[chosen].SourceReferrerId is { } referrer
            && customers.Values.Any(c => c.AllIds().Contains(referrer)))
        {
            throw CustomerWrites.RefersItself($"/choices/{FieldJson.Source}");
        }
    }

    /// <summary>A union may be larger than a record can be, and have a value that is older than the definition of its field.</summary>
    private static async Task RequireValidAsync(CustomerInput survivor, CustomerInput fields, FieldCatalog definitions, Validation validation, CancellationToken ct)
    {
        try
        {
            await validation.EnsureValidAsync(fields, ct);
            definitions.CheckMerged(survivor, fields);
        }
        catch (ProblemException exception) when (exception.Code == ProblemCodes.ValidationFailed)
        {
            throw new ProblemException(ProblemCodes.Unprocessable, "The merged record would not be a valid one.", exception.Errors);
        }
    }

    private static async Task<ServiceImpact> OwnImpactAsync(ContactsDb db, List<Guid> absorbed, Guid survivor, CancellationToken ct) => new("contacts", PartStatus.Ok,
    [
        .. await MergedRows.CountAsync(db, [.. absorbed], survivor, ct),
        new("external_ids", await db.ExternalIds.LongCountAsync(e => absorbed.Contains(e.CustomerId), ct), 0),
    ]);
}

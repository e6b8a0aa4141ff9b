using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Tiers;

/// <summary>
/// Says what customers of a tier are entitled to; every service hears of it. One that is there needs <c>If-Match</c>,
/// another name makes a new tier; the same again changes nothing.
/// </summary>
internal static class PutTier
{
    private const int Most = 100;

    public static async Task<IResult> Handle(string name, TierInput body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        if (!SlugAttribute.IsSlug(name))
        {
            throw ProblemException.InvalidParameter("name", "Lower-case letters, digits, _ - and . only, 1 to 64 of them.");
        }

        var (tier, isNew) = await db.InTransactionAsync(async () =>
        {
            await db.LockAsync(["tiers"], ct);
            var existing = await db.Tiers.FirstOrDefaultAsync(t => t.Name == name, ct);
            if (existing is null)
            {
                var made = await DefineAsync(name, body, http, db, clock.GetUtcNow(), ct);
                await SaveAsync(made, db, ct);
                return (made, true);
            }

            ETags.RequireMatch(http, existing.Version);
            if (existing.Change(body, clock.GetUtcNow()))
            {
                await SaveAsync(existing, db, ct);
            }

            return (existing, false);
        }, ct);
        http.Response.Headers.ETag = ETags.Of(tier.Version);
        var view = TierView.Of(tier);
        return isNew ? TypedResults.Created($"/v1/tiers/{name}", view) : TypedResults.Ok(view);
    }

    private static async Task<Tier> DefineAsync(string name, TierInput body, HttpContext http, ContactsDb db, DateTimeOffset now, CancellationToken ct)
    {
        if (http.Request.Headers.IfMatch.Count > 0)
        {
            throw new ProblemException(ProblemCodes.StaleVersion, "There is no such tier yet; send it without If-Match.");
        }

        if (await db.Tiers.CountAsync(ct) >= Most)
        {
            throw new RuleViolationException($"There are {Most} tiers already.");
        }

        var tier = Tier.Define(name, body, now);
        db.Tiers.Add(tier);
        return tier;
    }

    private static Task<int> SaveAsync(Tier tier, ContactsDb db, CancellationToken ct)
    {
        db.AuditRow(Tier.RecordType, tier.Id, null, tier);
        db.Publish(tier, tier.Changed());
        return db.SaveChangesAsync(ct);
    }
}

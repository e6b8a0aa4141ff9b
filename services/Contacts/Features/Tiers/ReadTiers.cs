using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Tiers;

/// <summary>The tiers, the most privileged first, and one by its name.</summary>
internal static class ReadTiers
{
    public static async Task<Page<TierView>> List(ContactsDb db, CancellationToken ct) =>
        new([.. (await db.Tiers.AsNoTracking().OrderByDescending(t => t.Rank).ThenBy(t => t.Name).ToListAsync(ct)).Select(TierView.Of)], HasMore: false, NextCursor: null);

    public static async Task<IResult> One(string name, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var tier = await db.Tiers.AsNoTracking().FirstOrDefaultAsync(t => t.Name == name, ct) ?? throw ProblemException.NotFound("tier");
        return ETags.Ok(http, tier.Version, TierView.Of(tier));
    }

    public static ProblemException Unknown() =>
        new(ProblemCodes.UnknownReference, "There is no such tier; GET /v1/tiers lists those that there are.", new FieldError("/tier", "unknown_tier"));
}

/// <summary>A tier as the API shows it.</summary>
public sealed record TierView(string Name, int Rank, TierEntitlements Entitlements, long Version, DateTimeOffset UpdatedAt)
{
    internal static TierView Of(Tier tier) => new(tier.Name, tier.Rank, tier.Entitlements, tier.Version, tier.UpdatedAt);
}

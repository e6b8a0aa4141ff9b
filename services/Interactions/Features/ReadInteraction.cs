using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Interactions.Features;

/// <summary>One interaction, by id or by its external id.</summary>
internal static class ReadInteraction
{
    public static async Task<IResult> Handle(string id, HttpContext http, InteractionsDb db, CancellationToken ct)
    {
        var interaction = Ids.Interaction.TryParse(id, out var key) ? await db.Interactions.AsNoTracking().FirstOrDefaultAsync(i => i.Id == key, ct) : null;
        return interaction is null ? throw ProblemException.NotFound("interaction") : ETags.Ok(http, interaction.Version, InteractionView.Of(interaction));
    }

    public static async Task<IResult> HandleByExternalId(string source, string externalId, HttpContext http, InteractionsDb db, CancellationToken ct)
    {
        var interaction = await db.Interactions.AsNoTracking().FirstOrDefaultAsync(i => i.Source == source && i.ExternalId == externalId, ct);
        return interaction is null ? throw ProblemException.NotFound("interaction") : ETags.Ok(http, interaction.Version, InteractionView.Of(interaction));
    }
}

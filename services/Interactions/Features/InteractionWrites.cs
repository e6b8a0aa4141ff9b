using Crm.Hosting.Audit;
using Crm.Interactions.Domain;

namespace Crm.Interactions.Features;

/// <summary>What create, upsert and patch share.</summary>
internal static class InteractionWrites
{
    /// <summary>Saves the interaction, its event and its line of the timeline; inside a transaction.</summary>
    public static async Task SaveAsync(this InteractionsDb db, Interaction interaction, CancellationToken ct)
    {
        db.AuditRow("interaction", interaction);
        db.Publish(interaction, interaction.Logged());
        await db.SaveChangesAsync(ct);
        await db.StoreAsync(TimelineEntry.Of(interaction), ct);
    }
}

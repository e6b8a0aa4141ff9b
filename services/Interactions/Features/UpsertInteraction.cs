using Crm.CustomerCopy;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Crm.Interactions.Domain;

namespace Crm.Interactions.Features;

/// <summary>
/// Creates the interaction with this external id, or replaces it whole. The same body again changes
/// nothing and publishes nothing, however many instances send it at once.
/// </summary>
internal static class UpsertInteraction
{
    public static async Task<IResult> Handle(
        string source, string externalId, InteractionInput body, HttpContext http, InteractionsDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        var own = ExternalId.Read(source, externalId);
        var (interaction, result) = await db.InTransactionAsync(async () =>
        {
            var customerId = await customers.RequireAsync(body.CustomerId, "/customer_id", ct);

            // A row that is not there yet cannot be locked.
            await db.LockAsync([$"interaction {source} {externalId}"], ct);
            if (await db.LockInteractionAsync(source, externalId, ct) is not { } existing)
            {
                var logged = Interaction.Log(customerId, body, own, http.User.Subject(), clock.GetUtcNow());
                db.Interactions.Add(logged);
                await db.SaveAsync(logged, ct);
                return (logged, UpsertResult.Created);
            }

            if (!existing.Change(customerId, FieldRules.Keep(existing.ToInput(), body), clock.GetUtcNow()))
            {
                return (existing, UpsertResult.Unchanged);
            }

            await db.SaveAsync(existing, ct);
            return (existing, UpsertResult.Updated);
        }, ct);
        var view = InteractionView.Of(interaction) with { Result = result };
        return result.Answer(http, interaction.Version, $"/v1/interactions/{view.Id}", view);
    }
}

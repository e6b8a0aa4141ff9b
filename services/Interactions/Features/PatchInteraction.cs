using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Web;
using Crm.Interactions.Domain;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Interactions.Features;

/// <summary>JSON merge patch (RFC 7396) of the writable fields; needs <c>If-Match</c>.</summary>
internal static class PatchInteraction
{
    public static async Task<Ok<InteractionView>> Handle(
        string id, HttpContext http, InteractionsDb db, CustomerDirectory customers, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        var patch = await MergePatch.ReadAsync(http.Request, ct);
        if (!Ids.Interaction.TryParse(id, out var key))
        {
            throw ProblemException.NotFound("interaction");
        }

        var interaction = await db.InTransactionAsync(async () =>
        {
            // Before the row: whoever merges locks the customer first and the rows afterwards.
            Guid? moveTo = patch.ContainsKey("customer_id") ? await customers.RequireAsync((patch["customer_id"] as JsonValue)?.ToString(), "/customer_id", ct) : null;
            var interaction = await db.LockInteractionAsync(key, ct) ?? throw ProblemException.NotFound("interaction");
            ETags.RequireMatch(http, interaction.Version);
            var input = MergePatch.Apply(interaction.ToInput(), patch);
            await validation.EnsureValidAsync(input, ct);
            if (interaction.Change(moveTo ?? interaction.CustomerId, input, clock.GetUtcNow()))
            {
                await db.SaveAsync(interaction, ct);
            }

            return interaction;
        }, ct);
        http.Response.Headers.ETag = ETags.Of(interaction.Version);
        return TypedResults.Ok(InteractionView.Of(interaction));
    }
}

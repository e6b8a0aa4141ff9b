using Crm.CustomerCopy;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
using Crm.Interactions.Domain;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Interactions.Features;

/// <summary>Records a contact with a customer.</summary>
internal static class LogInteraction
{
    public static async Task<Created<InteractionView>> Handle(
        InteractionInput body, HttpContext http, InteractionsDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        var interaction = await db.InTransactionAsync(async () =>
        {
            var customerId = await customers.RequireAsync(body.CustomerId, "/customer_id", ct);
            var logged = Interaction.Log(customerId, body, externalId: null, http.User.Subject(), clock.GetUtcNow());
            db.Interactions.Add(logged);
            await db.SaveAsync(logged, ct);
            return logged;
        }, ct);
        http.Response.Headers.ETag = ETags.Of(interaction.Version);
        var view = InteractionView.Of(interaction);
        return TypedResults.Created($"/v1/interactions/{view.Id}", view);
    }
}

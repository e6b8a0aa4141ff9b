using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Web;
using Crm.Interactions.Domain;
using Microsoft.EntityFrameworkCore;

namespace Crm.Interactions.Features;

/// <summary>Interactions, the last recorded first, filtered exactly and paged by keyset.</summary>
internal static class ListInteractions
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "customer_id", "channel", "direction", "started_at[gte]", "started_at[lt]"];

    public static async Task<Page<InteractionView>> Handle(HttpRequest request, InteractionsDb db, CustomerDirectory customers, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.Interaction);
        var interactions = db.OutOfBin(db.Interactions.AsNoTracking());
        if (await customers.ReadFilterAsync(request, ct) is { } customerId)
        {
            interactions = interactions.Where(i => i.CustomerId == customerId);
        }

        if (request.ReadWord<InteractionChannel>("channel") is { } channel)
        {
            interactions = interactions.Where(i => i.Channel == channel);
        }

        if (request.ReadWord<InteractionDirection>("direction") is { } direction)
        {
            interactions = interactions.Where(i => i.Direction == direction);
        }

        if (request.ReadInstant("started_at[gte]") is { } from)
        {
            interactions = interactions.Where(i => i.StartedAt >= from);
        }

        if (request.ReadInstant("started_at[lt]") is { } to)
        {
            interactions = interactions.Where(i => i.StartedAt < to);
        }

        return await interactions.ToPageAsync(page, i => i.Id, Ids.Interaction, InteractionView.Of, ct);
    }

    /// <exception cref="ProblemException">400 when it is there and not an instant.</exception>
    internal static DateTimeOffset? ReadInstant(this HttpRequest request, string parameter)
    {
        if (request.Query[parameter] is not [{ } text])
        {
            return null;
        }

        // A plus sign that was not encoded arrives as a blank.
        return Instants.TryParse(text.Replace(' ', '+'), out var instant)
            ? instant
            : throw ProblemException.InvalidParameter(parameter, "An RFC 3339 instant with its zone.");
    }
}

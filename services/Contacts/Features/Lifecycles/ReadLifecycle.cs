using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Lifecycles;

/// <summary>The steps of a customer's lifecycle, newest first, with those of all whom the customer has absorbed.</summary>
internal static class ReadLifecycle
{
    /// <param name="From">Null when the customer was created.</param>
    /// <param name="Actor">The key or user, or <c>svc:…</c> of a rule.</param>
    /// <param name="OrderId">Of a step by rule: the order that made it, or the last one before the silence.</param>
    /// <param name="CustomerId">Under whom it was recorded.</param>
    /// <param name="VoidedAt">Since when it does not count: its order was cancelled, or its merge undone.</param>
    public sealed record Step(
        string Id,
        Lifecycle? From,
        Lifecycle To,
        LifecycleCause Cause,
        string Actor,
        DateTimeOffset At,
        string? OrderId,
        string CustomerId,
        DateTimeOffset? VoidedAt)
    {
        internal static Step Of(LifecycleChange change) => new(
            Ids.LifecycleChange.Format(change.Id), change.FromState, change.ToState, change.Cause, change.Actor, change.At,
            Ids.Order.Format(change.OrderId), Ids.Customer.Format(change.OriginCustomerId), change.VoidedAt);
    }

    public static async Task<Ok<Page<Step>>> Handle(string id, HttpRequest request, ContactsDb db, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.LifecycleChange);
        var customer = await db.FindAtPathAsync(id, request.HttpContext, ct);
        return TypedResults.Ok(await db.LifecycleChanges.AsNoTracking().Where(l => l.CustomerId == customer).ToPageAsync(page, l => l.Id, Ids.LifecycleChange, Step.Of, ct));
    }
}

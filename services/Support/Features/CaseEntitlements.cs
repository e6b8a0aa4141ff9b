using Crm.Support.Domain;
using Microsoft.EntityFrameworkCore;

namespace Crm.Support.Features;

/// <summary>What the tier of a customer means to its cases, from the copy that this service keeps.</summary>
internal static class CaseEntitlements
{
    /// <summary>A case that says neither its priority nor its queue goes first when the customer is entitled to it.</summary>
    public static async Task<CaseInput> WithEntitlementsAsync(this SupportDb db, CaseInput body, Guid customer, CancellationToken ct) =>
        body is { Priority: null, Queue: null } && await db.Customers.AnyAsync(c => c.Id == customer && db.Tiers.Any(t => t.Name == c.Tier && t.PriorityQueue), ct)
            ? body with { Priority = CasePriority.High }
            : body;
}

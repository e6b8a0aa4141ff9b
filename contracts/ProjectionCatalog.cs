namespace Crm.Contracts;

/// <summary>What a service keeps of the rows of others and can build anew of them.</summary>
/// <param name="Name">Of the queue that keeps it up to date.</param>
/// <param name="Sources">In the order in which a rebuild takes them: the owner, and what it calls its rows.</param>
public sealed record Projection(string Service, string Name, IReadOnlyList<string> Sources)
{
    /// <summary>As an operator names it.</summary>
    public string Id => $"{Service}.{Name}";
}

/// <summary>Every projection that can be rebuilt. A service whose own are not these does not start.</summary>
public static class ProjectionCatalog
{
    private static readonly string[] OfContacts = ["contacts.tiers", "contacts.grants", "contacts.customers"];

    public static readonly IReadOnlyList<Projection> All =
    [
        new("billing-sync", "customer-copy", OfContacts),
        new("campaigns", "customer-copy", OfContacts),
        new("interactions", "customer-copy", OfContacts),
        new("interactions", "timeline", ["interactions.interactions", "billing-sync.orders", "billing-sync.invoices", "billing-sync.payments", "support.cases", "campaigns.messages"]),
        new("support", "customer-copy", OfContacts),
    ];

    public static Projection? Find(string id) => All.FirstOrDefault(p => p.Id == id);

    public static IReadOnlyList<Projection> Of(string service) => [.. All.Where(p => p.Service == service)];
}

using System.Reflection;

namespace Crm.Contracts.Events;

/// <summary>One integration event: who publishes it, how partners call it, which queues it must reach.</summary>
/// <param name="Outside">It is for listeners outside the platform: no service reads it.</param>
public sealed record EventRoute(Type Type, string PublicName, IReadOnlyList<string> Queues, EventSubject Subject = EventSubject.One, bool Outside = false)
{
    private readonly EventNameAttribute _name = Type.GetCustomAttribute<EventNameAttribute>()
        ?? throw new InvalidOperationException($"{Type} has no [EventName].");

    public string Name => _name.Name;
    public string Exchange => _name.Exchange;
    public string Publisher => _name.Publisher;
}

/// <summary>What an erasure does with an event that names the erased and waits somewhere.</summary>
public enum EventSubject
{
    /// <summary>It is about one record: it is deleted.</summary>
    One,

    /// <summary>It lists records as objects with an <c>id</c>: those of the erased are taken out of it.</summary>
    Several,

    /// <summary>It carries ids, counts and digests: it stays.</summary>
    Nobody,
}

/// <summary>
/// The routing table of the bus. Every publisher declares these queues and bindings before its relay
/// starts, so that nothing is published before its consumers can receive it. A service whose consumers read anything else
/// than the table says does not start.
/// </summary>
public static class EventCatalog
{
    public static readonly IReadOnlyList<EventRoute> All =
    [
        Route<CustomerRegistered>("customer.registered", Queues.CustomerCopies),
        Route<CustomerUpdated>("customer.updated", Queues.CustomerCopies),
        Route<TierChanged>("tier.changed", Queues.CustomerCopies, EventSubject.Nobody),
        Route<GrantChanged>("grant.changed", Queues.CustomerCopies, EventSubject.Nobody),
        Outside<ChangeRequestChanged>("change_request.changed", EventSubject.Nobody),
        Route<CustomersImported>("customer.imported", Queues.CustomerImports, EventSubject.Several),
        Route<ConsentRecorded>("consent.recorded", Queues.CustomerCopies),
        Route<ConsentConfirmationRequested>("consent.confirmation_requested", [Queues.CampaignsConsentMails]),
        Route<CustomersMerged>("customer.merged", Queues.CustomerCopies, EventSubject.Several),
        Route<MergeUndone>("customer.unmerged", Queues.CustomerCopies, EventSubject.Several),
        Route<CustomersErased>("customer.erased", Queues.CustomerCopies, EventSubject.Nobody),
        Route<InteractionLogged>("interaction.logged", [Queues.CampaignsCustomerFacts]),
        Route<OrderRecorded>("order.recorded", [Queues.InteractionsTimeline, Queues.CampaignsCustomerFacts, Queues.ContactsOrders]),
        Route<InvoiceRecorded>("invoice.recorded", [Queues.InteractionsTimeline]),
        Route<PaymentRecorded>("payment.recorded", [Queues.InteractionsTimeline]),
        Route<CaseChanged>("case.changed", [Queues.InteractionsTimeline, Queues.CampaignsCustomerFacts]),
        Route<MessageSent>("message.sent", [Queues.InteractionsTimeline]),
        Route<ConsentStated>("consent.stated", [Queues.ContactsConsentStatements]),
        Route<InteractionsMergeApplied>("merge.applied", [Queues.ContactsMergeReceipts], EventSubject.Nobody),
        Route<CampaignsMergeApplied>("merge.applied", [Queues.ContactsMergeReceipts], EventSubject.Nobody),
        Route<BillingSyncMergeApplied>("merge.applied", [Queues.ContactsMergeReceipts], EventSubject.Nobody),
        Route<SupportMergeApplied>("merge.applied", [Queues.ContactsMergeReceipts], EventSubject.Nobody),
        Route<InteractionsErasureApplied>("erasure.applied", [Queues.ContactsErasureReceipts], EventSubject.Nobody),
        Route<CampaignsErasureApplied>("erasure.applied", [Queues.ContactsErasureReceipts], EventSubject.Nobody),
        Route<BillingSyncErasureApplied>("erasure.applied", [Queues.ContactsErasureReceipts], EventSubject.Nobody),
        Route<SupportErasureApplied>("erasure.applied", [Queues.ContactsErasureReceipts], EventSubject.Nobody),
    ];

    private static readonly Dictionary<Type, EventRoute> ByType = All.ToDictionary(r => r.Type);
    private static readonly Dictionary<string, EventRoute> ByName = All.ToDictionary(r => r.Name, StringComparer.Ordinal);

    public static EventRoute Of(Type type) => ByType.TryGetValue(type, out var route)
        ? route
        : throw new InvalidOperationException($"{type} is not in the event catalogue.");

    public static EventRoute Of(string name) => ByName.TryGetValue(name, out var route)
        ? route
        : throw new UnknownEventException(name);

    public static IEnumerable<EventRoute> PublishedBy(string service) =>
        All.Where(r => string.Equals(r.Publisher, service, StringComparison.Ordinal));

    private static EventRoute Route<T>(string publicName, IReadOnlyList<string> queues, EventSubject subject = EventSubject.One) => new(typeof(T), publicName, queues, subject);

    private static EventRoute Outside<T>(string publicName, EventSubject subject) => new(typeof(T), publicName, [], subject, Outside: true);
}

/// <summary>An event that this build does not know: the row was written by another version.</summary>
public sealed class UnknownEventException(string name) : Exception($"'{name}' is not in the event catalogue.");

/// <summary>Names of the queues: <c>crm.&lt;service&gt;.&lt;consumer&gt;</c>.</summary>
public static class Queues
{
    /// <summary>Identity and consent, copied by every service but Contacts.</summary>
    public static readonly IReadOnlyList<string> CustomerCopies =
        [CustomerCopy("interactions"), CustomerCopy("campaigns"), CustomerCopy("billing-sync"), CustomerCopy("support")];

    /// <summary>What imports do with many customers at once.</summary>
    public static readonly IReadOnlyList<string> CustomerImports =
        [CustomerImport("interactions"), CustomerImport("campaigns"), CustomerImport("billing-sync"), CustomerImport("support")];

    public const string InteractionsTimeline = "crm.interactions.timeline";
    public const string CampaignsCustomerFacts = "crm.campaigns.customer-facts";
    public const string CampaignsConsentMails = "crm.campaigns.consent-mails";
    public const string ContactsConsentStatements = "crm.contacts.consent-statements";

    /// <summary>Orders, which move the lifecycle.</summary>
    public const string ContactsOrders = "crm.contacts.orders";

    /// <summary>What the services did for a merge or its undo.</summary>
    public const string ContactsMergeReceipts = "crm.contacts.merge-receipts";

    /// <summary>The signed receipts of erasures.</summary>
    public const string ContactsErasureReceipts = "crm.contacts.erasure-receipts";

    public static string CustomerCopy(string service) => $"crm.{service}.customer-copy";

    public static string CustomerImport(string service) => $"crm.{service}.customer-imports";
}

namespace Crm.Contracts.Events;

/// <summary>
/// A person was erased, with all records that were merged into theirs. Every service erases its rows or, where the law
/// wants a record kept, what is personal in it, and answers with its <c>erasure-applied</c> event.
/// </summary>
/// <param name="CustomerId">Whose erasure was asked for.</param>
/// <param name="Customers">The snapshots of all of them, with nothing personal left: what every service keeps as a tombstone.</param>
/// <param name="BackupsGoneBy">When the last backup with the data in it has aged out.</param>
/// <param name="Mailboxes">
/// Of the e-mail addresses that they have and had, in lower case, the SHA-256 in hexadecimal: what was sent there on behalf of
/// somebody else is theirs, and so is what names one of them in a record of somebody else. None that somebody else has today.
/// The addresses themselves are nowhere any more. Null before there was this.
/// </param>
[EventName("contacts.customers-erased.v1")]
public sealed record CustomersErased(
    string ErasureId,
    string CustomerId,
    IReadOnlyList<CustomerSnapshot> Customers,
    DateTimeOffset At,
    DateTimeOffset BackupsGoneBy,
    IReadOnlyList<string>? Mailboxes = null);

/// <summary>What one service did for an erasure.</summary>
/// <param name="Statement">
/// An <see cref="ErasureStatement"/> as a JWS (RFC 7515, compact, ES256) by the key that the service signs its tokens with.
/// </param>
public sealed record ErasureReceipt(string ErasureId, string Service, string Statement);

/// <summary>The signed content of a receipt.</summary>
/// <param name="Erased">Rows that are gone, by table.</param>
/// <param name="Kept">Rows that stay, with nothing of the erased in them: those that the law wants kept, and those of others. By table.</param>
public sealed record ErasureStatement(
    string Service,
    string ErasureId,
    string CustomerId,
    IReadOnlyList<string> CustomerIds,
    IReadOnlyDictionary<string, long> Erased,
    IReadOnlyDictionary<string, long> Kept,
    DateTimeOffset At,
    DateTimeOffset BackupsGoneBy);

[EventName("interactions.erasure-applied.v1")]
public sealed record InteractionsErasureApplied(ErasureReceipt Receipt);

[EventName("campaigns.erasure-applied.v1")]
public sealed record CampaignsErasureApplied(ErasureReceipt Receipt);

[EventName("billing-sync.erasure-applied.v1")]
public sealed record BillingSyncErasureApplied(ErasureReceipt Receipt);

[EventName("support.erasure-applied.v1")]
public sealed record SupportErasureApplied(ErasureReceipt Receipt);

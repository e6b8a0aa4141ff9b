using System.Text.Json;

namespace Crm.Contracts.Events;

/// <summary>
/// What every service keeps of a customer. Whole in each identity event; a version that is not newer
/// than the stored one is dropped, so order and duplicates do not matter.
/// </summary>
/// <param name="Id">Customer id, <c>cus_…</c>.</param>
/// <param name="Kind"><c>person</c> or <c>organization</c>.</param>
/// <param name="Country">ISO 3166-1 alpha-2 of the primary address.</param>
/// <param name="Locale">BCP 47.</param>
/// <param name="TimeZone">IANA name.</param>
/// <param name="State"><c>active</c>, <c>merged</c>, <c>erased</c>, <c>removed</c>: its import was undone, or <c>deleted</c>: in the recycle bin, until it is active again or erased.</param>
/// <param name="SurvivorId">Set when merged.</param>
/// <param name="Tags">Sorted; null of a snapshot that an older version published.</param>
public sealed record CustomerSnapshot(
    string Id,
    long Version,
    string Kind,
    string DisplayName,
    string? GivenName,
    string? FamilyName,
    string? PrimaryEmail,
    string? Country,
    string? Locale,
    string? TimeZone,
    string Lifecycle,
    string Tier,
    string? Department,
    IReadOnlyDictionary<string, JsonElement> Attributes,
    string State,
    string? SurvivorId,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt,
    IReadOnlyList<string>? Tags = null);

[EventName("contacts.customer-registered.v1")]
public sealed record CustomerRegistered(CustomerSnapshot Customer);

/// <param name="Changed">Names of the API fields that changed.</param>
[EventName("contacts.customer-updated.v1")]
public sealed record CustomerUpdated(CustomerSnapshot Customer, IReadOnlyList<string> Changed);

/// <summary>What customers of a tier are entitled to from now on; a version that is not newer is dropped.</summary>
/// <param name="Tier">Its name, as <see cref="CustomerSnapshot.Tier"/> has it.</param>
/// <param name="Rank">The higher, the more privileged.</param>
[EventName("contacts.tier-changed.v1")]
public sealed record TierChanged(string Tier, long Version, int Rank, TierEntitlements Entitlements);

/// <summary>What a department lets another one do with its records, from now on; a version that is not newer is dropped.</summary>
/// <param name="Id"><c>grt_…</c></param>
/// <param name="Owner">The department whose records they are.</param>
/// <param name="Department">The one that may.</param>
/// <param name="CustomerId">Of this customer only; it counts while that one belongs to the owner.</param>
/// <param name="FieldGroup">In all records of the owner the fields of this group only.</param>
/// <param name="Access"><c>read</c>, or <c>write</c>: to change them without approval too.</param>
/// <param name="Ended">It was revoked.</param>
[EventName("contacts.grant-changed.v1")]
public sealed record GrantChanged(
    string Id, long Version, string Owner, string Department, string? CustomerId, string? FieldGroup, string Access, DateTimeOffset? ExpiresAt, bool Ended);

/// <summary>A change request was made, or something became of it.</summary>
/// <param name="Id"><c>chg_…</c></param>
/// <param name="CustomerId">The customer that it is filed under.</param>
/// <param name="Operation">What is to be done.</param>
/// <param name="Status"><c>pending</c> when it was made.</param>
[EventName("contacts.change-request-changed.v1")]
public sealed record ChangeRequestChanged(string Id, string CustomerId, string Operation, string Status, DateTimeOffset At);

/// <summary>What the services grant to customers of a tier.</summary>
/// <param name="PriorityQueue">Cases that say neither their priority nor their queue go first.</param>
/// <param name="PriceList">The price list that they buy by; null: that of everybody.</param>
/// <param name="SlaPolicy">The service level that they are promised; null: none of their own.</param>
/// <param name="ResponseMinutes">Within how many minutes they are answered; null: nothing is promised.</param>
public sealed record TierEntitlements(bool PriorityQueue, string? PriceList, string? SlaPolicy, int? ResponseMinutes);

/// <summary>
/// What an import, or its undo, did with many customers: one event for all of them instead of one each. It has queues of
/// its own, so that nobody's change waits behind an import.
/// </summary>
/// <param name="ImportId"><c>imp_…</c></param>
/// <param name="Registered">New customers.</param>
/// <param name="Updated">Customers that were there; those whom an undo removed are among them.</param>
[EventName("contacts.customers-imported.v1")]
public sealed record CustomersImported(string ImportId, IReadOnlyList<CustomerSnapshot> Registered, IReadOnlyList<CustomerSnapshot> Updated);

/// <summary>
/// A person is to confirm a pending consent from the own mailbox (double opt-in): Campaigns sends one mail with a
/// link, and what comes of it is a <see cref="ConsentStated"/>.
/// </summary>
/// <param name="ConsentId">The pending statement, <c>con_…</c>.</param>
/// <param name="Address">Where the mail goes: the primary e-mail address at the time of asking.</param>
/// <param name="Wording">The words that the person agrees to by confirming.</param>
/// <param name="ExpiresAt">From then on the link confirms nothing.</param>
[EventName("contacts.consent-confirmation-requested.v1")]
public sealed record ConsentConfirmationRequested(
    string ConsentId,
    string CustomerId,
    string Channel,
    string Purpose,
    string Address,
    string? Wording,
    DateTimeOffset ExpiresAt);

/// <summary>The current state of one customer, channel and purpose; versions count per such triple.</summary>
/// <param name="State">A consent state, or <c>none</c> when what was said belongs to another customer again, or only a pause was said.</param>
/// <param name="PausedUntil">Nothing is to be sent before, whatever the state; null or past: no pause.</param>
[EventName("contacts.consent-recorded.v1")]
public sealed record ConsentRecorded(
    string CustomerId,
    string Channel,
    string Purpose,
    string State,
    long Version,
    DateTimeOffset At,
    DateTimeOffset? PausedUntil = null)
{
    /// <summary>Nothing is said any more.</summary>
    public const string NothingSaid = "none";
}

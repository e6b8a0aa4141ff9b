using Crm.Contacts.Domain.Erasures;
using Crm.Contracts;

namespace Crm.Contacts.Features.Erasures;

/// <summary>An erasure as the API shows it.</summary>
/// <param name="CustomerIds">With all who had been merged into the customer.</param>
/// <param name="BackupsGoneBy">When the last backup with the data in it has aged out.</param>
/// <param name="Missing">Services whose receipt is not in.</param>
/// <param name="WaitingSeconds">How long it has waited for them; null when none is missing.</param>
public sealed record ErasureView(
    string Id,
    ErasureStatus Status,
    string CustomerId,
    IReadOnlyList<string> CustomerIds,
    string Reason,
    string Actor,
    DateTimeOffset AskedAt,
    DateTimeOffset? CompletedAt,
    DateTimeOffset BackupsGoneBy,
    IReadOnlyList<ErasureReceiptView> Receipts,
    IReadOnlyList<string> Missing,
    long? WaitingSeconds)
{
    internal static ErasureView Of(Erasure erasure, DateTimeOffset now) => new(
        Ids.Erasure.Format(erasure.Id),
        erasure.Status,
        Ids.Customer.Format(erasure.CustomerId),
        [.. erasure.CustomerIds.Select(id => Ids.Customer.Format(id))],
        erasure.Reason,
        erasure.Actor,
        erasure.AskedAt,
        erasure.CompletedAt,
        erasure.BackupsGoneBy,
        [.. erasure.Receipts.OrderBy(r => r.Service, StringComparer.Ordinal).Select(r => new ErasureReceiptView(r.Service, r.Erased, r.Kept, r.At, r.Statement))],
        erasure.Missing,
        erasure.Missing.Count > 0 ? (long)(now - erasure.AskedAt).TotalSeconds : null);
}

/// <summary>What one service did.</summary>
/// <param name="Erased">Rows that are gone, by table.</param>
/// <param name="Kept">Rows that stay, with nothing of the erased in them: those that the law wants kept, and those of others. By table.</param>
/// <param name="Statement">The same, signed by the service: a JWS to keep, and to verify at <c>/v1/erasure-receipts/verify</c> or with its keys.</param>
public sealed record ErasureReceiptView(
    string Service, IReadOnlyDictionary<string, long> Erased, IReadOnlyDictionary<string, long> Kept, DateTimeOffset At, string Statement);

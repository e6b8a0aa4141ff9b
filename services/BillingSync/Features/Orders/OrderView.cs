using System.Text.Json.Serialization;
using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Features.Orders;

/// <summary>An order as the API shows it.</summary>
public sealed record OrderView(
    string Id,
    ExternalKey? ExternalId,
    string CustomerId,
    DateTimeOffset PlacedAt,
    IReadOnlyList<OrderLine> Lines,
    [property: FieldGroup(FieldGroups.Finance)] Money Total,
    OrderStatus Status,
    long Version,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt)
{
    /// <summary>What an upsert did; only there.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public UpsertResult? Result { get; init; }

    internal static OrderView Of(Order order) => new(
        Ids.Order.Format(order.Id),
        order.ExternalKey,
        Ids.Customer.Format(order.CustomerId),
        order.PlacedAt,
        order.Lines,
        order.Total,
        order.Status,
        order.Version,
        order.CreatedAt,
        order.UpdatedAt);
}

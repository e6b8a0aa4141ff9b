using System.Text.Json.Serialization;
using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Features.Products;

/// <summary>A product as the API shows it.</summary>
public sealed record ProductView(
    string Id,
    ExternalKey? ExternalId,
    string Sku,
    string Name,
    string? Description,
    Money? UnitPrice,
    bool Active,
    long Version,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt)
{
    /// <summary>What an upsert did; only there.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public UpsertResult? Result { get; init; }

    internal static ProductView Of(Product product) => new(
        Ids.Product.Format(product.Id),
        product.ExternalKey,
        product.Sku,
        product.Name,
        product.Description,
        product.UnitPrice,
        product.Active,
        product.Version,
        product.CreatedAt,
        product.UpdatedAt);
}

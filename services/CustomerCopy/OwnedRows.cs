using Crm.Contracts;

namespace Crm.CustomerCopy;

/// <summary>
/// A table whose rows belong to customers. <c>origin_customer_id</c> is the customer under whom a row was recorded and
/// changes with the row only; <c>customer_id</c> is its owner, the root of the origin in the forest of merges. So a
/// merge or its undo, in any order, is one recomputation, and nothing is lost by it.
/// </summary>
/// <param name="Table">Has <c>id</c>, <c>customer_id</c> (indexed) and <c>origin_customer_id</c>.</param>
/// <param name="Source">Null for rows that have no id of their own for people.</param>
/// <param name="Alike">Columns by which two rows of one customer would collide if their customer were part of the key.</param>
/// <param name="Copied">They are a copy of another service's rows.</param>
public sealed record OwnedRows(string Table, SourceRows? Source = null, string? Alike = null, bool Copied = false)
{
    /// <summary>In a step of an erasure: the rows that were recorded under the erased.</summary>
    public const string OfErased = "customer_id = ANY (@owners) AND origin_customer_id = ANY (@ids)";
}

/// <summary>Rows that this service is the source of, as they are named to people.</summary>
/// <param name="Type">Such as <c>case</c>.</param>
/// <param name="RecordedAt">The column that says when the row was recorded.</param>
public sealed record SourceRows(string Type, IdKind Ids, string RecordedAt);

using Crm.Contacts.Domain.Imports;
using Crm.Contracts;

namespace Crm.Contacts.Features.Imports;

/// <summary>An import and how far it is.</summary>
/// <param name="IgnoredColumns">Columns that fill no field.</param>
/// <param name="Processed">Rows done so far: created + updated + unchanged + failed.</param>
/// <param name="Undo">
/// Customers that an undo removed, restored, or refused because they were changed or used since; null before it is asked for.
/// </param>
public sealed record ImportView(
    string Id,
    ImportStatus Status,
    ImportFormat Format,
    string? Mapping,
    IReadOnlyList<string> MatchOn,
    bool DryRun,
    IReadOnlyList<string> IgnoredColumns,
    int Total,
    int Processed,
    int Created,
    int Updated,
    int Unchanged,
    int Failed,
    UndoCounts? Undo,
    DateTimeOffset CreatedAt,
    DateTimeOffset? StartedAt,
    DateTimeOffset? FinishedAt)
{
    internal static ImportView Of(Import import) => new(
        Ids.Import.Format(import.Id), import.Status, import.Sent, import.MappingName, import.MatchOn, import.DryRun, import.IgnoredColumns, import.Total,
        import.NextRow - 1, import.Created, import.Updated, import.Unchanged, import.Failed,
        import.UndoAskedAt is { } asked ? new(import.Removed, import.Restored, import.Refused, import.Missing, asked, import.UndoneAt) : null,
        import.CreatedAt, import.StartedAt, import.FinishedAt);
}

/// <param name="Missing">Services that did not say what they have of the customers; they are asked again, and nobody is removed before.</param>
public sealed record UndoCounts(int Removed, int Restored, int Refused, IReadOnlyList<string> Missing, DateTimeOffset AskedAt, DateTimeOffset? FinishedAt);

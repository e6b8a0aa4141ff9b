namespace Crm.Contacts.Features.Imports;

/// <summary>Records that are rows of cells under the names of columns.</summary>
internal interface IRowRecords
{
    /// <summary>The first row; null when there is none.</summary>
    ValueTask<IReadOnlyList<string>?> ReadHeaderAsync(CancellationToken ct);

    /// <summary>The next row that is not blank; null at the end.</summary>
    ValueTask<IReadOnlyList<string>?> ReadRowAsync(CancellationToken ct);
}

namespace Crm.Hosting.Audit;

/// <summary>A mapped row that follows its customer through merges.</summary>
public interface IOwnedRow
{
    Guid Id { get; }

    /// <summary>Whose it is now; a merge moves it.</summary>
    Guid CustomerId { get; }

    /// <summary>Under whom it was recorded; only an edit changes it, which gives the row to somebody else.</summary>
    Guid OriginCustomerId { get; }
}

namespace Crm.Runner.Histories;

/// <summary>
/// What must be true after the steps so far, in the simplest words: merges are a forest, and every row belongs to whoever
/// stands for the customer under whom it was recorded.
/// </summary>
internal sealed class HistoryModel
{
    private readonly Dictionary<Guid, MergeFact> _absorbedBy = [];

    public List<Guid> Customers { get; } = [];

    public List<RowFact> Rows { get; } = [];

    public List<MergeFact> Merges { get; } = [];

    public IReadOnlyList<MergeFact> Active => [.. Merges.Where(m => m.UndoneAt is null)];

    public Guid? SurvivorOf(Guid customer) => _absorbedBy.TryGetValue(customer, out var merge) ? merge.Survivor : null;

    /// <summary>Who stands for a customer now.</summary>
    public Guid RootOf(Guid customer)
    {
        while (_absorbedBy.TryGetValue(customer, out var merge))
            customer = merge.Survivor;
        return customer;
    }

    public void Merge(string id, Guid survivor, Guid absorbed, int at)
    {
        var merge = new MergeFact(id, survivor, absorbed, at);
        Merges.Add(merge);
        _absorbedBy.Add(absorbed, merge);
    }

    /// <summary>The absorbed one is itself again; what was recorded since under those who stood for it stays, and is listed, and refusals count for it too.</summary>
    public void Undo(MergeFact merge, int at)
    {
        merge.UndoneAt = at;
        var (here, since) = (merge.Survivor, merge.At);
        while (true)
        {
            merge.Stayed.UnionWith(Rows.Where(r => r.Type != RowFact.Edit && r.Origin == here && r.At > since).Select(r => (r.Type, r.Id)));
            merge.Refused |= Rows.Exists(r => r.Refuses && r.Origin == here && r.At > since);
            if (!_absorbedBy.TryGetValue(here, out var next))
                break;
            (here, since) = (next.Survivor, next.At);
        }

        _absorbedBy.Remove(merge.Absorbed);
    }
}

/// <param name="Origin">Under whom the service said that it recorded the row.</param>
/// <param name="At">Number of the step.</param>
/// <param name="Refuses">A consent that ends one.</param>
internal sealed record RowFact(string Type, string Id, Guid Origin, int At, bool Refuses = false)
{
    /// <summary>Of a field of the customer's record, which its id names.</summary>
    public const string Edit = "edit";

    public const string Customer = "customer";
}

internal sealed record MergeFact(string Id, Guid Survivor, Guid Absorbed, int At)
{
    public int? UndoneAt { get; set; }

    /// <summary>Somebody refused while it stood.</summary>
    public bool Refused { get; set; }

    /// <summary>Type and id of the rows that the undo has to list.</summary>
    public HashSet<(string Type, string Id)> Stayed { get; } = [];
}

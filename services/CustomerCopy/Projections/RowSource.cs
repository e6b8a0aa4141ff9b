using System.Globalization;
using System.Text.Json;
using Crm.Contracts.Events;
using Crm.Hosting;
using Wire = Crm.Contracts.Rebuilds.V1;

namespace Crm.CustomerCopy.Projections;

/// <summary>Rows of one owner, whoever it is.</summary>
public interface IRowReader<TRow>
{
    /// <summary>In the order of their ids; the estimate is of all of them.</summary>
    Task<(IReadOnlyList<SourceRow<TRow>> Rows, long? Estimate)> ReadAsync(Guid after, int limit, CancellationToken ct);

    /// <summary>Those of them that there are.</summary>
    Task<KnownRows<TRow>> ReadAsync(IReadOnlyList<Guid> ids, CancellationToken ct);
}

/// <param name="Untold">Also there, and nothing can be told of them: copies stay as they are.</param>
public sealed record KnownRows<TRow>(IReadOnlyList<SourceRow<TRow>> Rows, IReadOnlyList<Guid> Untold);

/// <param name="AsOfNow">See <see cref="ReplayedRow"/>.</param>
public sealed record SourceRow<TRow>(Guid Id, TRow Row, bool AsOfNow = false);

/// <summary>Rows of another service, as the events that it published of them.</summary>
public sealed class EventRows<TEvent>(Wire.Rebuilds.RebuildsClient owner, TimeProvider clock) : IRowReader<TEvent> where TEvent : class
{
    private static readonly string Event = EventCatalog.Of(typeof(TEvent)).Name;

    public async Task<(IReadOnlyList<SourceRow<TEvent>> Rows, long? Estimate)> ReadAsync(Guid after, int limit, CancellationToken ct)
    {
        var request = new Wire.ReadRowsRequest { Event = Event, After = after == Guid.Empty ? "" : after.ToString(), Limit = limit };
        var page = await owner.ReadRowsAsync(request, deadline: ProjectionSource.Patience(clock), cancellationToken: ct);
        return (Rows(page), page.EstimatedRows);
    }

    public async Task<KnownRows<TEvent>> ReadAsync(IReadOnlyList<Guid> ids, CancellationToken ct)
    {
        var request = new Wire.ReadRowsRequest { Event = Event };
        request.Ids.AddRange(ids.Select(i => i.ToString()));
        var page = await owner.ReadRowsAsync(request, deadline: ProjectionSource.Patience(clock), cancellationToken: ct);
        return new(Rows(page), [.. page.Untold.Select(i => Guid.Parse(i, CultureInfo.InvariantCulture))]);
    }

    private static List<SourceRow<TEvent>> Rows(Wire.RowPage page) => [.. page.Rows.Select(r => new SourceRow<TEvent>(
        Guid.Parse(r.Id, CultureInfo.InvariantCulture), JsonSerializer.Deserialize<TEvent>(r.EventJson, EventJson.Options)!, r.AsOfNow))];
}

/// <summary>
/// Copies of rows that are known by the same id here and there. What is here and not there is found by looking here first and
/// asking the owner afterwards: a copy is made of what the owner has committed, so what it does not have then it has no more.
/// </summary>
public abstract class RowSource<TRow>(string name, IRowReader<TRow> owner) : ProjectionSource(name)
{
    /// <summary>Copies that a page compares with the owner's at most: how many are asked for one by one.</summary>
    private const int MostOthers = RebuildsGrpc.MostRows;

    public sealed override async Task<ProjectionPage> ReadAsync(string after, int limit, CancellationToken ct)
    {
        var from = after.Length == 0 ? Guid.Empty : Guid.Parse(after, CultureInfo.InvariantCulture);
        var (page, estimate) = await owner.ReadAsync(from, limit, ct);
        var last = page.Count < limit;
        var end = last ? Guid.AllBitsSet : page[^1].Id;
        var others = await FindOthersAsync(from, end, [.. page.Select(r => r.Id)], MostOthers, ct);
        if (others.Count == MostOthers)
        {
            // There may be more of them: the page ends with the last one that is known.
            (last, end) = (false, others[^1]);
        }

        var known = others.Count == 0 ? new([], []) : await owner.ReadAsync(others, ct);
        var rows = page.Where(r => r.Id <= end).Concat(known.Rows).ToList();
        var gone = others.Except(known.Rows.Select(r => r.Id)).Except(known.Untold).ToArray();
        return new(end.ToString(), last, rows.Count, estimate, async token =>
        {
            var repairs = rows.Count == 0 ? new(0, 0) : await StoreAsync(rows, token);
            return gone.Length == 0 ? repairs : repairs with { Removed = repairs.Removed + await RemoveAsync(gone, token) };
        });
    }

    /// <summary>The first of the copies after one id and up to another that are none of these, in the order of their ids.</summary>
    protected abstract Task<List<Guid>> FindOthersAsync(Guid after, Guid end, Guid[] but, int limit, CancellationToken ct);

    protected abstract Task<Repairs> StoreAsync(IReadOnlyList<SourceRow<TRow>> rows, CancellationToken ct);

    protected abstract Task<int> RemoveAsync(Guid[] ids, CancellationToken ct);
}

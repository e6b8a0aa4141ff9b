using System.Security.Claims;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Crm.Interactions.Domain;
using Microsoft.EntityFrameworkCore;

namespace Crm.Interactions.Features;

/// <summary>
/// Everything that happened with a customer, whichever service it happened in, newest first; filtered by
/// <c>type</c> (one, or several with commas) and time, paged by keyset on time and id. Who reads
/// campaigns finds no message of one whose segment asked what the roles hide, as in the campaigns' part of the overview.
/// </summary>
internal static class ReadTimeline
{
    public static readonly string[] Parameters = ["limit", "cursor", "type", "at[gte]", "at[lt]"];

    public static async Task<Page<TimelineView>> Handle(string id, HttpRequest request, InteractionsDb db, CustomerDirectory customers, CancellationToken ct)
    {
        var limit = PageRequest.ReadLimit(request);
        var types = ReadTypes(request);
        var (from, to) = (request.ReadInstant("at[gte]"), request.ReadInstant("at[lt]"));
        var after = TimeCursor.Read(request);
        var customerId = await customers.FindAtPathAsync(id, request.HttpContext, ct);

        var entries = db.Timeline.AsNoTracking().Where(e => e.CustomerId == customerId).Told(request.HttpContext.User);
        if (from is not null)
        {
            entries = entries.Where(e => e.At >= from);
        }

        if (to is not null)
        {
            entries = entries.Where(e => e.At < to);
        }

        if (after is { } last)
        {
            entries = entries.Where(e => EF.Functions.LessThan(ValueTuple.Create(e.At, e.Id), ValueTuple.Create(last.At, last.Id)));
        }

        var found = await entries.NewestOf(types, limit + 1).ToListAsync(ct);
        var more = found.Count > limit;
        return new([.. found.Take(limit).Select(TimelineView.Of)], more, more ? TimeCursor.Write(found[limit - 1].At, found[limit - 1].Id) : null);
    }

    /// <summary>
    /// Without what the campaigns' part of the overview leaves out: who sees when campaigns were launched, and what their segments
    /// ask, would tell by its time alone which one a message is of. To others it is a message that says nothing more
    /// (<see cref="TimelineEntry.SummaryForCaller"/>), as is one of which it is not known any more what its segment asked.
    /// </summary>
    internal static IQueryable<TimelineEntry> Told(this IQueryable<TimelineEntry> entries, ClaimsPrincipal caller)
    {
        var rights = CallerRights.Current;
        var hidden = FieldGroups.All.Where(g => rights.Read(g) != FieldAccess.Allow).ToList();
        return hidden.Count > 0 && caller.HasScope(Scopes.CampaignsRead)
            ? entries.Where(e => e.AskedGroups == null || !e.AskedGroups.Any(g => hidden.Contains(g)))
            : entries;
    }

    internal static IQueryable<TimelineEntry> Newest(this IQueryable<TimelineEntry> entries, int count) =>
        entries.OrderByDescending(e => e.At).ThenByDescending(e => e.Id).Take(count);

    /// <summary>The newest of each type, then of all: rare types are found without reading past the frequent ones.</summary>
    private static IQueryable<TimelineEntry> NewestOf(this IQueryable<TimelineEntry> entries, IReadOnlyCollection<TimelineType> types, int count) => types.Count == 0
        ? entries.Newest(count)
        : types.Select(type => entries.Where(e => e.Type == type).Newest(count)).Aggregate(Queryable.Concat).Newest(count);

    private static TimelineType[] ReadTypes(HttpRequest request) => request.Query["type"] is not [{ } words]
        ? []
        : [.. words.Split(',').Select(word => EnumWords<TimelineType>.TryParse(word, out var type)
            ? type
            : throw ProblemException.InvalidParameter("type", $"One or more of {string.Join(", ", Enum.GetValues<TimelineType>().Select(t => t.ToWord()))}.")).Distinct()];
}

/// <summary>One line of a timeline.</summary>
/// <param name="Service">Where the record with this id lives.</param>
public sealed record TimelineView(DateTimeOffset At, TimelineType Type, string Id, string Summary, string Service)
{
    internal static TimelineView Of(TimelineEntry entry) => new(entry.At, entry.Type, entry.PublicId, entry.SummaryForCaller, entry.Service);
}

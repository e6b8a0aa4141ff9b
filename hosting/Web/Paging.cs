using System.Globalization;
using Crm.Contracts;
using Microsoft.AspNetCore.Http;

namespace Crm.Hosting.Web;

/// <summary>One page of a list; the order is newest first, by id.</summary>
public sealed record Page<T>(IReadOnlyList<T> Data, bool HasMore, string? NextCursor);

/// <summary>
/// <c>limit</c> (1 to 100, default 25) and one of <c>cursor</c>, <c>starting_after</c>, <c>ending_before</c>.
/// Keyset on the id, which never changes: a row that exists throughout is seen exactly once.
/// </summary>
public sealed record PageRequest(int Limit, Guid? After, Guid? Before)
{
    /// <summary>The query parameters, for <see cref="QueryParameters.WithQuery"/>.</summary>
    public static readonly string[] Parameters = ["limit", "cursor", "starting_after", "ending_before"];

    /// <exception cref="ProblemException">400 when a parameter is wrong.</exception>
    public static PageRequest Read(HttpRequest request, IdKind ids)
    {
        var limit = ReadLimit(request);
        Guid? after = null;
        Guid? before = null;
        foreach (var name in Parameters.Skip(1))
        {
            if (request.Query[name] is not [{ } text])
            {
                continue;
            }

            if (!ids.TryParse(text, out var id))
            {
                throw ProblemException.InvalidParameter(name, "This is not a cursor of this list.");
            }

            if (after is not null || before is not null)
            {
                throw ProblemException.InvalidParameter(name, "Give one of cursor, starting_after and ending_before.");
            }

            if (name == "ending_before")
            {
                before = id;
            }
            else
            {
                after = id;
            }
        }

        return new(limit, after, before);
    }

    public static int ReadLimit(HttpRequest request, int fallback = 25)
    {
        if (request.Query["limit"] is not [{ } text])
        {
            return fallback;
        }

        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var limit) && limit is >= 1 and <= 100
            ? limit
            : throw ProblemException.InvalidParameter("limit", "limit is a whole number from 1 to 100.");
    }
}

public static class Paging
{
    /// <summary>
    /// Reads one row more than asked to know whether there are more; never counts.
    /// </summary>
    public static async Task<Page<TOut>> ToPageAsync<TRow, TOut>(
        this IQueryable<TRow> rows,
        PageRequest page,
        System.Linq.Expressions.Expression<Func<TRow, Guid>> key,
        IdKind ids,
        Func<TRow, TOut> map,
        CancellationToken ct)
    {
        var id = key.Compile();
        rows = page switch
        {
            { After: { } after } => rows.Where(Compare(key, after, System.Linq.Expressions.Expression.LessThan)).OrderByDescending(key),
            { Before: { } before } => rows.Where(Compare(key, before, System.Linq.Expressions.Expression.GreaterThan)).OrderBy(key),
            _ => rows.OrderByDescending(key),
        };
        var found = await Microsoft.EntityFrameworkCore.EntityFrameworkQueryableExtensions.ToListAsync(rows.Take(page.Limit + 1), ct);
        var more = found.Count > page.Limit;
        if (more)
        {
            found.RemoveAt(page.Limit);
        }

        if (page.Before is not null)
        {
            found.Reverse();
        }

        return new([.. found.Select(map)], more, more && found.Count > 0 ? ids.Format(id(found[^1])) : null);
    }

    private static System.Linq.Expressions.Expression<Func<TRow, bool>> Compare<TRow>(
        System.Linq.Expressions.Expression<Func<TRow, Guid>> key,
        Guid bound,
        Func<System.Linq.Expressions.Expression, System.Linq.Expressions.Expression, System.Linq.Expressions.BinaryExpression> compare)
    {
        // The closure makes the bound a parameter of the statement, so that one plan serves all pages.
        System.Linq.Expressions.Expression<Func<Guid>> value = () => bound;
        return System.Linq.Expressions.Expression.Lambda<Func<TRow, bool>>(compare(key.Body, value.Body), key.Parameters);
    }
}

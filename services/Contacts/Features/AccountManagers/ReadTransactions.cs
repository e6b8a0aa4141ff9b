using System.Globalization;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.AccountManagers;

/// <summary>
/// What customers ordered before, while and after an account manager looked after them. <c>days</c> (1 to 3650, default
/// 90) is the length of <c>before</c>, <c>first</c> and <c>after</c>.
/// </summary>
internal static class ReadTransactions
{
    public static readonly string[] Parameters = ["days"];

    public static readonly string[] ManagerParameters = ["days", "from", "to"];

    private const int DefaultDays = 90;
    private const int MostDays = 3650;

    /// <summary>Of one assignment of a customer.</summary>
    public static async Task<Ok<AssignmentTransactions>> OfAssignment(string id, string assignment, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var (days, now) = (ReadDays(http.Request), clock.GetUtcNow());
        var customer = await db.FindAtPathAsync(id, http, ct);
        var found = Ids.AccountManager.TryParse(assignment, out var key)
            ? await db.AccountManagers.AsNoTracking().FirstOrDefaultAsync(a => a.Id == key && a.CustomerId == customer, ct)
            : null;
        var periods = await SumAsync(db, "a.id = {0}", found?.Id ?? throw ProblemException.NotFound("account manager of this customer"), days, now, DateTimeOffset.MinValue, DateTimeOffset.MaxValue, ct);
        return TypedResults.Ok(new AssignmentTransactions(
            assignment, Ids.Customer.Format(customer), found.Manager, found.StartsAt, found.EndsAt, days,
            periods("before"), periods("first"), periods("during"), found.EndsAt is null ? null : periods("after"), now));
    }

    /// <summary>Of all assignments of an account manager that lasted at some time from <c>from</c> on and before <c>to</c>, of customers that the caller sees; an order counts once a period.</summary>
    public static async Task<Ok<ManagerTransactions>> OfManager(string employee, HttpRequest request, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var (days, now) = (ReadDays(request), clock.GetUtcNow());
        var (from, to) = (ReadInstant(request, "from"), ReadInstant(request, "to"));
        if (from >= to)
        {
            throw ProblemException.InvalidParameter("to", "Later than from.");
        }

        var (begin, end) = (from ?? DateTimeOffset.MinValue, to ?? DateTimeOffset.MaxValue);
        var lasting = db.AccountManagers.Where(a => a.Manager == employee && a.StartsAt < end && (a.EndsAt == null || (a.EndsAt > begin && a.EndsAt != a.StartsAt)));
        if (!CallerRights.Current.AllCustomers)
        {
            lasting = lasting.Where(a => db.Customers.Any(c => c.Id == a.CustomerId));
        }

        var seen = CallerRights.Current.AllCustomers ? null : await lasting.Select(a => a.CustomerId).Distinct().ToArrayAsync(ct);
        var counts = await lasting.GroupBy(_ => 1).Select(g => new { Assignments = g.LongCount(), Customers = g.Select(a => a.CustomerId).Distinct().LongCount() }).FirstOrDefaultAsync(ct);
        var periods = await SumAsync(db, seen is null ? "a.manager = {0}" : "a.manager = {0} AND a.customer_id = ANY ({5})", employee, days, now, begin, end, ct, seen);
        return TypedResults.Ok(new ManagerTransactions(
            employee, from, to, days, counts?.Customers ?? 0, counts?.Assignments ?? 0, periods("before"), periods("first"), periods("during"), periods("after"), now));
    }

    /// <summary>One statement: the assignments by their index, and for each period the customer's orders by <c>placed_orders_customer</c>.</summary>
    /// <param name="chosen">Which assignments, by <paramref name="key"/> and <paramref name="customers"/>.</param>
    /// <returns>The sums by period.</returns>
    private static async Task<Func<string, OrderSums>> SumAsync(
        ContactsDb db, string chosen, object key, int days, DateTimeOffset now, DateTimeOffset from, DateTimeOffset to, CancellationToken ct, Guid[]? customers = null)
    {
#pragma warning disable EF1002 // The condition is one of those above.
        var rows = await db.Database.SqlQueryRaw<Row>($$"""
            SELECT t.period AS "Period", t.currency AS "Currency", count(*) AS "Orders", coalesce(sum(t.total_minor), 0)::bigint AS "Total"
            FROM (
                SELECT DISTINCT p.period, o.id, o.currency, o.total_minor
                FROM account_managers a
                CROSS JOIN LATERAL (VALUES
                    ('before', a.starts_at - make_interval(days => {1}), a.starts_at),
                    ('first', a.starts_at, least(a.starts_at + make_interval(days => {1}), a.ends_at, {2})),
                    ('during', greatest(a.starts_at, {3}), least(a.ends_at, {4}, {2})),
                    ('after', a.ends_at, least(a.ends_at + make_interval(days => {1}), {2}))) AS p(period, begins, ends)
                JOIN placed_orders o ON o.customer_id = a.customer_id AND o.placed_at >= p.begins AND o.placed_at < p.ends AND o.counts
                WHERE {{chosen}} AND a.starts_at < {4} AND (a.ends_at IS NULL OR (a.ends_at > {3} AND a.ends_at <> a.starts_at))) AS t
            GROUP BY t.period, t.currency
            """, key, days, now, from, to, customers ?? []).ToListAsync(ct);
#pragma warning restore EF1002
        var byPeriod = rows.ToLookup(r => r.Period);
        return period => new(
            byPeriod[period].Sum(r => r.Orders),
            byPeriod[period].Where(r => r.Currency is null).Sum(r => r.Orders),
            [.. byPeriod[period].Where(r => r.Currency is not null).OrderBy(r => r.Currency, StringComparer.Ordinal).Select(r => new Money(r.Total, r.Currency!))]);
    }

    private static int ReadDays(HttpRequest request) => request.Query["days"] is not [{ } text] ? DefaultDays
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var days) && days is >= 1 and <= MostDays ? days
        : throw ProblemException.InvalidParameter("days", $"A whole number from 1 to {MostDays}.");

    private static DateTimeOffset? ReadInstant(HttpRequest request, string name) => request.Query[name] is not [{ } text] ? null
        : Instants.TryParse(text, out var instant) ? instant : throw ProblemException.InvalidParameter(name, "An RFC 3339 instant with its zone.");

    private sealed record Row(string Period, string? Currency, long Orders, long Total);
}

/// <summary>Orders that are neither cancelled nor returned, and what they come to.</summary>
/// <param name="OrdersWithoutAmount">Of <paramref name="Orders"/> those told before amounts were kept here: they are not in the revenue.</param>
public sealed record OrderSums(long Orders, long OrdersWithoutAmount, [property: FieldGroup(FieldGroups.Finance)] IReadOnlyList<Money> Revenue);

/// <param name="Before">The days before the assignment began.</param>
/// <param name="First">Its first days, as far as it lasted.</param>
/// <param name="During">While it lasted, until now.</param>
/// <param name="After">The days after it ended; null while it has no end.</param>
public sealed record AssignmentTransactions(
    string Id, string CustomerId, string Manager, DateTimeOffset StartsAt, DateTimeOffset? EndsAt, int Days,
    OrderSums Before, OrderSums First, OrderSums During, OrderSums? After, DateTimeOffset AsOf);

/// <param name="Before">The days before each assignment began.</param>
/// <param name="First">The first days of each, as far as it lasted.</param>
/// <param name="During">While they lasted, within <paramref name="From"/> and <paramref name="To"/>.</param>
/// <param name="After">The days after those that ended.</param>
public sealed record ManagerTransactions(
    string Manager, DateTimeOffset? From, DateTimeOffset? To, int Days, long Customers, long Assignments,
    OrderSums Before, OrderSums First, OrderSums During, OrderSums After, DateTimeOffset AsOf);

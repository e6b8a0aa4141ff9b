using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Rights;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features;

/// <summary>
/// A customer's account, per currency. <c>balance = issued - paid - credits</c>; below zero the customer has
/// paid more than was asked. The arithmetic:
/// <list type="bullet">
/// <item><c>issued</c> is the total of invoices that are not void, <c>paid</c> the amount of succeeded payments.</item>
/// <item>A payment counts against the invoice that it names. What it pays beyond that invoice, or for a void one, or
/// in another currency, is free money like a payment that names none.</item>
/// <item><c>credits</c> is what nobody has to pay any more: a refunded payment credits the invoice that it names, up to
/// what is unpaid of it (money that was given back for an invoice is not asked for again; a refund of a payment that
/// named none, or a void one, only takes that payment back), and what free money leaves unpaid of an
/// invoice that its source calls paid, since the source may not tell every payment.</item>
/// <item>Free money goes to the invoices that the source calls paid, then to the open ones, oldest first.
/// <c>overdue</c> is what is then left unpaid of open invoices past their due date.</item>
/// </list>
/// </summary>
internal static class ReadAccount
{
    /// <param name="Balance">Null when there are no records, or several currencies; so are the other sums.</param>
    /// <param name="Orders">Orders that are not cancelled.</param>
    /// <param name="Revenue">Total of completed orders.</param>
    /// <param name="FirstPurchaseAt">Of orders that are not cancelled; so is the last.</param>
    public sealed record Account(
        string CustomerId,
        [property: FieldGroup(FieldGroups.Finance)] Money? Balance,
        [property: FieldGroup(FieldGroups.Finance)] Money? Overdue,
        long Orders,
        [property: FieldGroup(FieldGroups.Finance)] Money? Revenue,
        [property: FieldGroup(FieldGroups.Finance)] IReadOnlyList<CurrencyAccount> ByCurrency,
        DateTimeOffset? FirstPurchaseAt,
        DateTimeOffset? LastPurchaseAt,
        DateTimeOffset AsOf);

    /// <summary>Minor units of one currency.</summary>
    public sealed record CurrencyAccount(string Currency, long Balance, long Overdue, long Revenue, long Issued, long Paid, long Credits);

    public static async Task<Ok<Account>> Handle(string id, HttpContext http, BillingSyncDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct) =>
        TypedResults.Ok(await db.ReadAccountAsync(await customers.FindAtPathAsync(id, http, ct), clock.GetUtcNow(), ct));

    /// <summary>One statement over the indexes by customer.</summary>
    public static async Task<Account> ReadAccountAsync(this BillingSyncDb db, Guid customerId, DateTimeOffset asOf, CancellationToken ct)
    {
        var rows = await db.Database.SqlQuery<Row>($"""
            WITH o AS (
                SELECT currency, count(*) FILTER (WHERE status <> 'cancelled') AS orders,
                       sum(total_minor) FILTER (WHERE status = 'completed') AS revenue,
                       min(placed_at) FILTER (WHERE status <> 'cancelled') AS first_at,
                       max(placed_at) FILTER (WHERE status <> 'cancelled') AS last_at
                FROM orders WHERE customer_id = {customerId} GROUP BY currency),
            p AS (
                SELECT invoice_id, currency,
                       coalesce(sum(amount_minor) FILTER (WHERE status = 'succeeded'), 0) AS paid,
                       coalesce(sum(amount_minor) FILTER (WHERE status = 'refunded'), 0) AS refunded
                FROM payments WHERE customer_id = {customerId} GROUP BY invoice_id, currency),
            asked AS (
                SELECT id, currency, status, issued_at, due_at, CASE status WHEN 'void' THEN 0 ELSE total_minor END AS total
                FROM invoices WHERE customer_id = {customerId}),
            i AS (
                SELECT id, currency, status, issued_at, due_at, total, own, credit, total - own - credit AS rest
                FROM (
                    SELECT a.*, least(total, coalesce(paid, 0)) AS own,
                           least(coalesce(refunded, 0), total - least(total, coalesce(paid, 0))) AS credit
                    FROM asked a LEFT JOIN p ON p.invoice_id = a.id AND p.currency = a.currency) AS settled),
            sums AS (
                SELECT currency, coalesce(issued, 0) AS issued, coalesce(paid, 0) AS paid, coalesce(credit, 0) AS credit,
                       coalesce(rest_of_paid, 0) AS rest_of_paid, coalesce(paid, 0) - coalesce(own, 0) AS free
                FROM (SELECT currency FROM o UNION SELECT currency FROM i UNION SELECT currency FROM p) AS currencies
                LEFT JOIN (
                    SELECT currency, sum(total) AS issued, sum(own) AS own, sum(credit) AS credit,
                           sum(rest) FILTER (WHERE status = 'paid') AS rest_of_paid
                    FROM i GROUP BY currency) AS invoiced USING (currency)
                LEFT JOIN (SELECT currency, sum(paid) AS paid FROM p GROUP BY currency) AS received USING (currency)),
            late AS (
                SELECT currency, sum(least(rest, greatest(up_to_here - free, 0))) FILTER (WHERE due_at < {asOf}) AS overdue
                FROM (
                    SELECT currency, due_at, rest, greatest(free - rest_of_paid, 0) AS free,
                           sum(rest) OVER (PARTITION BY currency ORDER BY issued_at, id ROWS UNBOUNDED PRECEDING) AS up_to_here
                    FROM i JOIN sums USING (currency) WHERE status = 'open') AS open
                GROUP BY currency)
            SELECT currency, coalesce(orders, 0) AS orders, coalesce(revenue, 0)::bigint AS revenue, first_at AS "FirstAt", last_at AS "LastAt",
                   issued::bigint AS issued, paid::bigint AS paid, (credit + greatest(rest_of_paid - free, 0))::bigint AS credits,
                   coalesce(overdue, 0)::bigint AS overdue
            FROM sums LEFT JOIN o USING (currency) LEFT JOIN late USING (currency)
            ORDER BY currency
            """).ToListAsync(ct);
        var byCurrency = rows.ConvertAll(r => new CurrencyAccount(r.Currency, r.Issued - r.Paid - r.Credits, r.Overdue, r.Revenue, r.Issued, r.Paid, r.Credits));
        var only = byCurrency is [var one] ? one : null;
        return new(
            Ids.Customer.Format(customerId),
            Sum(only?.Balance),
            Sum(only?.Overdue),
            rows.Sum(r => r.Orders),
            Sum(only?.Revenue),
            byCurrency,
            rows.Min(r => r.FirstAt),
            rows.Max(r => r.LastAt),
            asOf);

        Money? Sum(long? amount) => amount is { } minor ? new(minor, only!.Currency) : null;
    }

    private sealed record Row(
        string Currency, long Orders, long Revenue, DateTimeOffset? FirstAt, DateTimeOffset? LastAt, long Issued, long Paid, long Credits, long Overdue);
}

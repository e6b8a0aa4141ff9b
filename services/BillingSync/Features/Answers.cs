using Crm.BillingSync.Domain;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Features;

/// <summary>What products, orders, invoices and payments share when they are answered.</summary>
internal static class Answers
{
    public static IResult Created<T>(HttpContext http, long version, string location, T view)
    {
        http.Response.Headers.ETag = ETags.Of(version);
        return TypedResults.Created(location, view);
    }

    public static IQueryable<T> OfCustomer<T>(this IQueryable<T> records, Guid? customer) where T : BillingRecord =>
        customer is { } id ? records.Where(r => r.CustomerId == id) : records;
}

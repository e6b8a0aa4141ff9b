using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Data;
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

    /// <summary>The filter <c>status</c> of a list.</summary>
    public static T? StatusFilter<T>(HttpRequest request) where T : struct, Enum => request.Query["status"] is not [{ } text]
        ? null
        : EnumWords<T>.TryParse(text, out var status) ? status : throw ProblemException.InvalidParameter("status", "Not a status of these records.");

    public static IQueryable<T> OfCustomer<T>(this IQueryable<T> records, Guid? customer) where T : BillingRecord =>
        customer is { } id ? records.Where(r => r.CustomerId == id) : records;
}

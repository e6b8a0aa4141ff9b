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

    /// <summary>201 when it was created, 200 else.</summary>
    public static IResult Upserted<T>(HttpContext http, UpsertResult result, long version, string location, T view)
    {
        http.Response.Headers.ETag = ETags.Of(version);
        return result == UpsertResult.Created ? TypedResults.Created(location, view) : TypedResults.Ok(view);
    }

    /// <summary>The filters <c>customer_id</c> and <c>status</c> of a list.</summary>
    public static Guid? CustomerFilter(HttpRequest request) => request.Query["customer_id"] is not [{ } text]
        ? null
        : Ids.Customer.TryParse(text, out var id) ? id : throw ProblemException.InvalidParameter("customer_id", "Not a customer id.");

    public static T? StatusFilter<T>(HttpRequest request) where T : struct, Enum => request.Query["status"] is not [{ } text]
        ? null
        : EnumWords<T>.TryParse(text, out var status) ? status : throw ProblemException.InvalidParameter("status", "Not a status of these records.");

    public static IQueryable<T> OfCustomer<T>(this IQueryable<T> records, HttpRequest request) where T : BillingRecord =>
        CustomerFilter(request) is { } customer ? records.Where(r => r.CustomerId == customer) : records;
}

using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Duplicates;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.Duplicates;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Contacts.Features;

/// <summary>
/// Creates a customer. 409 <c>already_exists</c> names the record that has the external id, 409
/// <c>in_recycle_bin</c> the one in the recycle bin; 409 <c>duplicate_suspected</c> lists in <c>candidates</c> who shares an
/// e-mail address or a phone number, is an organization of the same name with no other address, agrees in the names and
/// in something else, or has the same full name and nothing that would tell the two apart, each with its probability and the weight of every field in bits; it is overridden with
/// <c>allow_duplicate=true</c> and a <c>reason</c>; the pairs wait in the review queue then.
/// </summary>
internal static class CreateCustomer
{
    public static async Task<Created<CustomerView>> Handle(
        CustomerInput body, HttpContext http, ContactsDb db, DuplicateCheck duplicates, TimeProvider clock, CancellationToken ct)
    {
        var input = body.Normalized();
        var (allowDuplicate, reason) = ReadOverride(http.Request);
        var customer = await db.InTransactionAsync(async () =>
        {
            input = await db.CheckAttributesAsync(null, input, ct);
            await duplicates.LockAsync(input, ct);
            await db.RequireFreeExternalIdsAsync(input, ct);
            await db.RequireReferencesAsync(input, ct);
            var candidates = await duplicates.FindAsync(input, ct);
            if (candidates.Count > 0 && !allowDuplicate)
            {
                throw DuplicateSuspicion.Of(
                    candidates, "This customer may exist. Use the one that does, or send allow_duplicate=true with a reason.");
            }

            var created = db.Register(input, clock.GetUtcNow());
            if (candidates.Count > 0)
            {
                var forced = new DuplicateOverride(created.Id, [.. candidates.Select(c => c.Id)], reason!, http.User.Subject(), created.CreatedAt);
                db.DuplicateOverrides.Add(forced);
                db.AuditRow(DuplicateOverride.RecordType, created.Id, created.Id, forced);
            }

            await db.SaveAsync(input, ct);
            if (candidates.Count > 0)
            {
                await duplicates.QueueAsync(created, ct);
            }

            return created;
        }, ct);
        http.Response.Headers.ETag = ETags.Of(customer.Version);
        return TypedResults.Created($"/v1/customers/{Ids.Customer.Format(customer.Id)}", CustomerView.Of(customer));
    }

    private static (bool Allow, string? Reason) ReadOverride(HttpRequest request)
    {
        var allow = request.Query["allow_duplicate"].ToString();
        var reason = request.Query["reason"].ToString();
        return allow switch
        {
            "" or "false" => (false, null),
            "true" when reason.Trim().Length is >= 3 and <= 500 => (true, reason.Trim()),
            "true" => throw ProblemException.InvalidParameter("reason", "Say in 3 to 500 characters why this is another customer."),
            _ => throw ProblemException.InvalidParameter("allow_duplicate", "true or false."),
        };
    }
}

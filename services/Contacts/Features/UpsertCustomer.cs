using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Duplicates;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.Duplicates;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>
/// Creates or changes the customer with this external id: members of the body are set, null clears,
/// absent ones stay. With <c>match_on=email</c> a customer without this external id is found by the e-mail
/// address, if exactly one has it, who has no other external id of this system; a blocked address finds nobody.
/// Never answers <c>duplicate_suspected</c>: whom it creates waits in the review queue with those who may be the same.
/// 409 <c>in_recycle_bin</c> names the customer in the recycle bin who has this external id. 202 with a change request when the record belongs to another department that approves such changes.
/// </summary>
internal static class UpsertCustomer
{
    public static async Task<IResult> Handle(
        string source, string externalId, HttpContext http, ContactsDb db, Validation validation, DuplicateCheck duplicates, TimeProvider clock, CancellationToken ct)
    {
        var matchOnEmail = http.Request.Query["match_on"].ToString() switch
        {
            "" => false,
            "email" when CallerRights.Current.MayWrite(FieldGroups.ContactDetails) => true,
            "email" => throw FieldRules.Forbidden("match_on", FieldGroups.ContactDetails),
            _ => throw ProblemException.InvalidParameter("match_on", "email, or nothing."),
        };
        var own = new ExternalIdInput { System = source, Id = externalId };
        await validation.EnsureValidAsync(own, ct);
        var body = await MergePatch.ReadAsync(http.Request, ct);
        var result = await db.InTransactionAsync(async () =>
        {
            await db.LockAsync([$"external {source} {externalId}"], ct);
            var existing = await db.Whole().FirstOrDefaultAsync(c => c.ExternalIds.Any(e => e.System == source && e.Value == externalId), ct)
                ?? (matchOnEmail ? await FindByEmailAsync(db, body, source, ct) : null);
            if (existing is { State: CustomerState.Deleted })
            {
                throw CustomerWrites.AlreadyExists(existing, "/external_ids");
            }

            return await SaveAsync(existing, WithOwnId(MergePatch.Apply(existing?.ToInput() ?? new CustomerInput(), body), own), http, db, validation, clock, ct);
        }, ct);
        await QueueTwinsAsync(result, db, duplicates, ct);
        return result;
    }

    /// <summary>After the customer is stored: of two who are created at once, the later finds the other.</summary>
    public static async Task QueueTwinsAsync(IResult result, ContactsDb db, DuplicateCheck duplicates, CancellationToken ct)
    {
        if (result is Created<CustomerView> { Value: { } view })
        {
            var id = Ids.Customer.Parse(view.Id);
            await duplicates.QueueAsync(db.Customers.Local.First(c => c.Id == id), ct);
        }
    }

    /// <summary>Creates the customer, or changes the one who is there, or asks the department that it belongs to for it.</summary>
    public static async Task<IResult> SaveAsync(
        Customer? existing, CustomerInput input, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        await validation.EnsureValidAsync(input, ct);
        input = await db.CheckAttributesAsync(existing?.ToInput(), input, ct);
        await db.RequireReferencesAsync(input, ct, existing);
        if (existing is null)
        {
            input = input.Normalized();
            var created = db.Register(input, clock.GetUtcNow());
            await db.SaveAsync(input, ct);
            return Answer(created, UpsertResult.Created, http);
        }

        if (await db.NeedsApprovalAsync(existing, ct, await db.ChangedGroupsAsync(existing.ToInput(), input.Normalized(), ct))
            && WantedChange.Between(existing, input.InRows()) is { } wanted)
        {
            return await db.AskAsync(http, existing, wanted, clock.GetUtcNow(), ct);
        }

        var changed = await db.ChangeAsync(existing, input, clock.GetUtcNow(), ct);
        if (changed)
        {
            await db.SaveAsync(input.Normalized(), ct);
        }

        return Answer(existing, changed ? UpsertResult.Updated : UpsertResult.Unchanged, http);
    }

    private static IResult Answer(Customer customer, UpsertResult result, HttpContext http)
    {
        var view = CustomerView.Of(customer) with { Result = result };
        return result.Answer(http, customer.Version, $"/v1/customers/{view.Id}", view);
    }

    private static CustomerInput WithOwnId(CustomerInput input, ExternalIdInput own) =>
        input.ExternalIds?.Contains(own) is true ? input : input with { ExternalIds = [.. input.ExternalIds ?? [], own] };

    /// <summary>
    /// The lock keeps two upserts of one new address from both creating. A blocked address says nothing, and whoever has
    /// another id in the system is another customer there: two who share an inbox stay two.
    /// </summary>
    private static async Task<Customer?> FindByEmailAsync(ContactsDb db, JsonObject body, string system, CancellationToken ct)
    {
        var address = body["emails"] is JsonArray { Count: > 0 } emails && emails[0] is JsonObject first && first["address"] is JsonValue value && value.TryGetValue(out string? text)
            ? Email.Normalize(text).ToLowerInvariant()
            : throw ProblemException.Invalid(new FieldError("/emails/0/address", "required", "match_on=email needs an e-mail address."));
        await db.LockAsync([$"email {address}"], ct);
        var owners = await db.Identifiers.Where(i => i.Kind == CustomerIdentifier.Email && i.Value == address && db.Customers.Any(c => c.Id == i.CustomerId)
                && !db.ExternalIds.Any(e => e.CustomerId == i.CustomerId && e.System == system)
                && !db.BlockedIdentifiers.Any(b => b.Kind == IdentifierKind.Email && b.Value == address))
            .Select(i => i.CustomerId).Take(2).ToListAsync(ct);
        return owners switch
        {
            [] => null,
            [var only] => await db.Whole().FirstAsync(c => c.Id == only, ct),
            _ => throw new ProblemException(ProblemCodes.Conflict, "Several customers have this e-mail address.", new FieldError("/emails/0/address", "ambiguous")),
        };
    }
}

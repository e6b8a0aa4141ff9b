using Crm.Contacts.Features.ChangeRequests;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Crm.Contacts.Domain;
using Crm.Contacts.Features.CustomFields;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>
/// JSON merge patch (RFC 7396) of the writable fields; needs <c>If-Match</c>. 202 with a change request when the record
/// belongs to another department that approves such changes.
/// </summary>
internal static class PatchCustomer
{
    public static async Task<IResult> Handle(
        string id, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        CallerRights.Current.SeeParts();
        var patch = await MergePatch.ReadAsync(http.Request, ct);
        return await db.InTransactionAsync(async () =>
        {
            if (Ids.Customer.TryParse(id, out var named))
            {
                // A rule or a merge that changes the customer at this moment goes first.
                await db.Database.ExecuteSqlAsync($"SELECT FROM customers WHERE id = {named} FOR UPDATE", ct);
            }

            var key = await db.FindAtPathAsync(id, http, ct);
            var customer = await db.Whole().FirstAsync(c => c.Id == key, ct);
            ETags.RequireMatch(http, customer.Version);
            return await SaveAsync(customer, MergePatch.Apply(customer.ToInput(), patch), http, db, validation, clock, ct, await db.UnreachedAsync(customer, patch, ct));
        }, ct);
    }

    /// <summary>Takes the new state, when it is valid and nobody was quicker, in the transaction at hand; 200 with the customer.</summary>
    /// <param name="unreached">What the caller wants without seeing what is there.</param>
    public static async Task<IResult> SaveAsync(
        Customer customer, CustomerInput input, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct, UnreachedFields? unreached = null)
    {
        unreached ??= UnreachedFields.None;
        await validation.EnsureValidAsync(input, ct);
        input = await db.CheckAttributesAsync(customer.ToInput(), input, ct);
        await db.RequireReferencesAsync(input, ct, customer);
        if (input.Source is null && customer.SourceType is not null)
        {
            throw new ProblemException(ProblemCodes.Unprocessable, "How the customer was won can be changed, not taken away.", new FieldError("/source", "required"));
        }

        IReadOnlyCollection<string?> groups = [.. await db.ChangedGroupsAsync(customer.ToInput(), input.Normalized(), ct), .. unreached.Groups];
        if (await db.NeedsApprovalAsync(customer, ct, groups) && WantedChange.Between(customer, input.InRows(), unreached.Fields) is { } wanted)
        {
            return await db.AskAsync(http, customer, wanted, clock.GetUtcNow(), ct);
        }

        if (unreached.Groups.Count > 0)
        {
            await db.RequireDepartmentAsync(customer, ct, groups);
        }

        if (await db.ChangeAsync(customer, input, clock.GetUtcNow(), ct))
        {
            try
            {
                await db.SaveAsync(input with { ExternalIds = [.. input.ExternalIds ?? []] }, ct);
            }
            catch (DbUpdateConcurrencyException)
            {
                throw new ProblemException(ProblemCodes.StaleVersion, "The record was changed meanwhile; read it again.");
            }
        }

        http.Response.Headers.ETag = ETags.Of(customer.Version);
        return TypedResults.Ok((await db.ShowAsync([customer], ct))[0]);
    }
}

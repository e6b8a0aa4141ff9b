using Crm.CustomerCopy;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Crm.Support.Domain;

namespace Crm.Support.Features;

/// <summary>
/// Opens the case with this external id, or replaces its writable fields whole; its state, messages and
/// history stay. The same body again changes nothing and publishes nothing.
/// </summary>
internal static class UpsertCase
{
    public static async Task<IResult> Handle(
        string source, string externalId, CaseInput body, HttpContext http, SupportDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        var own = ExternalId.Read(source, externalId);
        var (it, result) = await db.InTransactionAsync(async () =>
        {
            var customerId = await customers.RequireAsync(body.CustomerId, "/customer_id", ct);

            var input = await db.WithEntitlementsAsync(body, customerId, ct);

            // A row that is not there yet cannot be locked.
            await db.LockAsync([$"case {source} {externalId}"], ct);
            if (await db.LockCaseAsync(source, externalId, ct) is not { } existing)
            {
                var opened = Case.Open(customerId, input, own, http.Now(clock));
                db.Cases.Add(opened);
                await db.SaveAsync(opened, ct);
                return (opened, UpsertResult.Created);
            }

            if (!existing.Change(customerId, FieldRules.Keep(existing.ToInput(), input), http.Now(clock)))
            {
                return (existing, UpsertResult.Unchanged);
            }

            await db.SaveAsync(existing, ct);
            return (existing, UpsertResult.Updated);
        }, ct);
        var view = CaseView.Of(it) with { Result = result };
        return result.Answer(http, it.Version, $"/v1/cases/{view.Id}", view);
    }
}

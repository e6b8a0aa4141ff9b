using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Retention;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Retention;

/// <summary>
/// For how long customers of some lifecycles are kept with whom nobody has anything to do. A change needs <c>If-Match</c>;
/// one that makes a policy active begins its first run at once, and any stops the run that is under way, unless it is a preview.
/// </summary>
internal static class RetentionPolicies
{
    private const int Most = 100;

    public static async Task<Created<RetentionPolicyView>> Create(
        RetentionPolicyInput body, HttpContext http, ContactsDb db, RetentionSignal signal, TimeProvider clock, CancellationToken ct)
    {
        OwnershipRules.RequireAllDepartments();
        var policy = await db.InTransactionAsync(async () =>
        {
            await db.LockAsync(["retention policies"], ct);
            if (await db.RetentionPolicies.CountAsync(ct) >= Most)
            {
                throw new RuleViolationException($"There are {Most} retention policies already; change one that is not active.");
            }

            var defined = RetentionPolicy.Define(body, clock.GetUtcNow());
            db.RetentionPolicies.Add(defined);
            db.AuditRow(RetentionPolicy.RecordType, defined.Id, null, defined);
            await db.SaveChangesAsync(ct);
            return defined;
        }, ct);
        signal.Raise();
        http.Response.Headers.ETag = ETags.Of(policy.Version);
        var view = RetentionPolicyView.Of(policy);
        return TypedResults.Created($"/v1/retention-policies/{view.Id}", view);
    }

    public static async Task<Ok<RetentionPolicyView>> Patch(
        string id, HttpContext http, ContactsDb db, Validation validation, RetentionSignal signal, TimeProvider clock, CancellationToken ct)
    {
        OwnershipRules.RequireAllDepartments();
        var patch = await MergePatch.ReadAsync(http.Request, ct);
        var policy = await db.InTransactionAsync(async () =>
        {
            var held = await db.HoldPolicyAsync(id, ct);
            ETags.RequireMatch(http, held.Version);
            var input = MergePatch.Apply(held.ToInput(), patch);
            await validation.EnsureValidAsync(input, ct);
            if (held.Change(input, clock.GetUtcNow()))
            {
                db.AuditRow(RetentionPolicy.RecordType, held.Id, null, held);
                await db.SaveChangesAsync(ct);
            }

            return held;
        }, ct);
        signal.Raise();
        http.Response.Headers.ETag = ETags.Of(policy.Version);
        return TypedResults.Ok(RetentionPolicyView.Of(policy));
    }

    public static Task<Page<RetentionPolicyView>> List(HttpRequest request, ContactsDb db, CancellationToken ct) =>
        db.RetentionPolicies.AsNoTracking().ToPageAsync(PageRequest.Read(request, Ids.RetentionPolicy), p => p.Id, Ids.RetentionPolicy, RetentionPolicyView.Of, ct);

    public static async Task<IResult> One(string id, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var policy = (Ids.RetentionPolicy.TryParse(id, out var key) ? await db.RetentionPolicies.AsNoTracking().FirstOrDefaultAsync(p => p.Id == key, ct) : null) ?? throw NotThere();
        return ETags.Ok(http, policy.Version, RetentionPolicyView.Of(policy));
    }

    /// <summary>Nobody else's until the transaction ends.</summary>
    /// <exception cref="ProblemException">404.</exception>
    public static async Task<RetentionPolicy> HoldPolicyAsync(this ContactsDb db, string id, CancellationToken ct) =>
        (Ids.RetentionPolicy.TryParse(id, out var key) ? (await db.RetentionPolicies.ForUpdate($"id = {key}").ToListAsync(ct)).SingleOrDefault() : null) ?? throw NotThere();

    private static ProblemException NotThere() => ProblemException.NotFound("retention policy");
}

/// <summary>A retention policy as the API shows it.</summary>
/// <param name="UnusedForDays">Days since the record was changed or a row of the customer recorded or changed, in any service.</param>
/// <param name="EraseAtMost">Customers that one run erases at most.</param>
/// <param name="NextRunAt">Null while it is not active.</param>
public sealed record RetentionPolicyView(
    string Id, string Name, IReadOnlyList<Lifecycle> Lifecycles, int UnusedForDays, int EraseAtMost, bool Active, DateTimeOffset? NextRunAt,
    long Version, DateTimeOffset CreatedAt, DateTimeOffset UpdatedAt)
{
    internal static RetentionPolicyView Of(RetentionPolicy policy) => new(
        Ids.RetentionPolicy.Format(policy.Id), policy.Name, policy.Lifecycles.ConvertAll(EnumWords<Lifecycle>.Parse), policy.UnusedForDays, policy.EraseAtMost, policy.Active,
        policy.NextRunAt, policy.Version, policy.CreatedAt, policy.UpdatedAt);
}

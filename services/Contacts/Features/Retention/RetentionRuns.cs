using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Retention;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Retention;

/// <summary>
/// Runs of retention policies and their reports. By default a run that is asked for is a preview, which erases nobody and
/// says who would be. 409 <c>conflict</c> names the run of the policy that is under way.
/// </summary>
internal static class RetentionRuns
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "policy_id"];
    public static readonly string[] ResultParameters = [.. PageRequest.Parameters, "outcome"];

    public sealed record Request
    {
        /// <summary>False erases, and takes an active policy; true when it is not given.</summary>
        public bool? Preview { get; init; }
    }

    public static async Task<Accepted<RetentionRunView>> Ask(
        string id, Request body, HttpContext http, ContactsDb db, RetentionSignal signal, TimeProvider clock, CancellationToken ct)
    {
        OwnershipRules.RequireAllDepartments();
        var run = await db.InTransactionAsync(async () =>
        {
            var policy = await db.HoldPolicyAsync(id, ct);
            var preview = body.Preview ?? true;
            if (!preview && !policy.Active)
            {
                throw new ProblemException(ProblemCodes.Unprocessable, "A policy that is not active erases nobody; ask for a preview.", new FieldError("/preview", "not_allowed"));
            }

            if (await db.RetentionRuns.AsNoTracking().FirstOrDefaultAsync(r => r.PolicyId == policy.Id && r.Status == RetentionStatus.Running, ct) is { } running)
            {
                throw new ProblemException(ProblemCodes.Conflict, "A run of this policy is under way.")
                {
                    Extensions = new Dictionary<string, object?> { ["existing_id"] = Ids.RetentionRun.Format(running.Id) },
                };
            }

            var begun = db.BeginRun(policy, preview, http.User.Subject(), clock.GetUtcNow());
            await db.SaveChangesAsync(ct);
            return begun;
        }, ct);
        signal.Raise();
        var view = RetentionRunView.Of(run);
        return TypedResults.Accepted($"/v1/retention-runs/{view.Id}", view);
    }

    /// <summary>Save afterwards.</summary>
    public static RetentionRun BeginRun(this ContactsDb db, RetentionPolicy policy, bool preview, string actor, DateTimeOffset now)
    {
        var run = RetentionRun.Begin(policy, preview, actor, now);
        db.RetentionRuns.Add(run);
        db.AuditRow(RetentionRun.RecordType, run.Id, null, run);
        return run;
    }

    public static async Task<Ok<RetentionRunView>> Read(string id, ContactsDb db, CancellationToken ct) => TypedResults.Ok(RetentionRunView.Of(await FindAsync(id, db, ct)));

    public static async Task<Page<RetentionRunView>> List(HttpRequest request, ContactsDb db, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.RetentionRun);
        var runs = db.RetentionRuns.AsNoTracking();
        if (request.Query["policy_id"] is [{ } text])
        {
            var policy = Ids.RetentionPolicy.TryParse(text, out var key) ? key : throw ProblemException.InvalidParameter("policy_id", "The id of a retention policy, rtp_….");
            runs = runs.Where(r => r.PolicyId == policy);
        }

        return await runs.ToPageAsync(page, r => r.Id, Ids.RetentionRun, RetentionRunView.Of, ct);
    }

    /// <summary>The customers who were over their time, who was registered last first.</summary>
    public static async Task<Page<RetentionResultView>> Results(string id, HttpRequest request, ContactsDb db, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.Customer);
        var run = await FindAsync(id, db, ct);
        var results = db.RetentionResults.AsNoTracking().Where(r => r.RunId == run.Id);
        if (request.ReadWord<RetentionOutcome>("outcome") is { } outcome)
        {
            results = results.Where(r => r.Outcome == outcome);
        }

        return await results.ToPageAsync(page, r => r.CustomerId, Ids.Customer, RetentionResultView.Of, ct);
    }

    private static async Task<RetentionRun> FindAsync(string id, ContactsDb db, CancellationToken ct) =>
        (Ids.RetentionRun.TryParse(id, out var key) ? await db.RetentionRuns.AsNoTracking().FirstOrDefaultAsync(r => r.Id == key, ct) : null)
        ?? throw ProblemException.NotFound("retention run");
}

/// <summary>The report of a run.</summary>
/// <param name="Actor">Who asked for it; the service itself when it was time.</param>
/// <param name="UnusedSince">Who was used then or later stays.</param>
/// <param name="Examined">Customers whose record nobody had changed since then: used, due, erased or kept.</param>
/// <param name="Used">With whom a service has had to do all the same: a row of theirs, a statement of consent, a relationship or an account manager is newer.</param>
/// <param name="Due">Of a preview: they would be erased.</param>
/// <param name="Kept">Over their time, and not erased.</param>
/// <param name="KeptFor">
/// Customers by reason: <c>legal_hold</c>, <c>change_request</c>, <c>export</c>, <c>open_case</c>, <c>open_invoice</c>, <c>pending_order</c>,
/// <c>pending_payment</c>, <c>active_subscription</c>, <c>message_due</c>; <c>changed_meanwhile</c> between the question and the erasure;
/// <c>failed</c>. One may have several.
/// </param>
/// <param name="LimitReached">It erased <c>erase_at_most</c> before it was through; the next run goes on.</param>
/// <param name="Missing">Services that have not said whom they have to do with; until they have, nobody is erased.</param>
public sealed record RetentionRunView(
    string Id, string PolicyId, bool Preview, RetentionStatus Status, string Actor, IReadOnlyList<Lifecycle> Lifecycles, DateTimeOffset UnusedSince, int EraseAtMost,
    long Examined, long Used, long Due, long Erased, long Kept, IReadOnlyDictionary<string, long> KeptFor, bool LimitReached, IReadOnlyList<string> Missing,
    DateTimeOffset StartedAt, DateTimeOffset? FinishedAt)
{
    internal static RetentionRunView Of(RetentionRun run) => new(
        Ids.RetentionRun.Format(run.Id), Ids.RetentionPolicy.Format(run.PolicyId), run.Preview, run.Status, run.Actor, run.Lifecycles.ConvertAll(EnumWords<Lifecycle>.Parse),
        run.UnusedSince, run.EraseAtMost, run.Examined, run.Used, run.Due, run.Erased, run.Kept, run.KeptFor, run.LimitReached, run.Missing, run.StartedAt, run.FinishedAt);
}

/// <param name="Reasons">Of a kept one, as <c>kept_for</c> of the run has them.</param>
/// <param name="ErasureId">Of an erased one: <c>GET /v1/erasures/{id}</c> has the signed receipts.</param>
public sealed record RetentionResultView(string CustomerId, RetentionOutcome Outcome, IReadOnlyList<string> Reasons, DateTimeOffset LastUsedAt, string? ErasureId)
{
    internal static RetentionResultView Of(RetentionResult result) => new(
        Ids.Customer.Format(result.CustomerId), result.Outcome, result.Reasons, result.LastUsedAt, Ids.Erasure.Format(result.ErasureId));
}

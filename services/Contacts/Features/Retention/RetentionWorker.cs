using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Retention;
using Crm.Contacts.Features.Erasures;
using Crm.Contracts;
using Crm.Hosting;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Messaging;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.Retention;

/// <summary>
/// Begins the runs of active policies and goes through their customers, the longest unused first: asks the other services of a
/// page of them when they were used, and hands those who are over their time to the erasure, one a transaction with what the
/// report says of it, so that a kill costs nothing. Replicas take runs, not customers.
/// </summary>
internal sealed partial class RetentionWorker(
    IServiceScopeFactory scopes, RetentionSignal signal, LastUses uses, IOptions<RetentionOptions> options, TimeProvider clock, ILogger<RetentionWorker> logger)
    : RepeatedWork(TimeSpan.FromSeconds(10), clock, logger, signal)
{
    private const int PageSize = 100;
    private const string LegalHold = "legal_hold";
    private const string ChangedMeanwhile = "changed_meanwhile";
    private const string Failed = "failed";

    /// <summary>So long after the last sign of life of a replica another one takes its run.</summary>
    private static readonly TimeSpan Lease = TimeSpan.FromMinutes(1);

    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);

    private static readonly System.Diagnostics.Metrics.Counter<long> Erasures =
        Telemetry.Meter.CreateCounter<long>("crm.contacts.retention.erased", description: "Customers who were erased because nobody had used them for as long as a retention policy says");

    protected override async Task RunAsync(CancellationToken ct)
    {
        await BeginDueAsync(ct);
        while (await ContinueNextAsync(ct))
        {
        }
    }

    private Task BeginDueAsync(CancellationToken ct) => InTransactionAsync(async db =>
    {
        var now = Clock.GetUtcNow();
        var due = await db.RetentionPolicies.ForUpdate($"""
            active AND next_run_at <= {now} AND NOT EXISTS (SELECT FROM retention_runs r WHERE r.policy_id = retention_policies.id AND r.status = 'running') ORDER BY id
            """, skipLocked: true).ToListAsync(ct);
        foreach (var policy in due)
        {
            policy.RunAgainAt(now.AddHours(options.Value.EveryHours));
            db.BeginRun(policy, preview: false, db.Actor(), now);
        }

        await db.SaveChangesAsync(ct);
        return due.Count;
    }, ct);

    /// <summary>As much of one run as can be done now; false when no run waits.</summary>
    private async Task<bool> ContinueNextAsync(CancellationToken ct)
    {
        var run = await InTransactionAsync(async db =>
        {
            var now = Clock.GetUtcNow();
            var next = (await db.RetentionRuns.ForUpdate($"status = 'running' AND next_at <= {now} ORDER BY next_at LIMIT 1", skipLocked: true).ToListAsync(ct)).SingleOrDefault();
            next?.Wait(now + Lease, next.Missing);
            await db.SaveChangesAsync(ct);
            return next;
        }, ct);
        if (run is null)
        {
            return false;
        }

        while (run is not null)
        {
            run = await ContinueAsync(run, ct);
        }

        return true;
    }

    /// <summary>The next page of a run; null when it is at its end, waits for a service or is somebody else's.</summary>
    private async Task<RetentionRun?> ContinueAsync(RetentionRun run, CancellationToken ct)
    {
        var page = await ReadPageAsync(run, ct);
        if (page.Count == 0 || run.IsFull)
        {
            await StepAsync(run, (_, held) => Finish(held, RetentionStatus.Completed, limitReached: page.Count > 0), ct);
            return null;
        }

        var (found, missing) = await uses.FindAsync([.. page.SelectMany(c => c.Ids)], ct);
        if (missing.Count > 0)
        {
            await StepAsync(run, (_, held) => held.Wait(Clock.GetUtcNow() + Pause, missing), ct);
            return null;
        }

        RetentionRun? now = run;
        foreach (var candidate in page)
        {
            if (now is null || now.IsFull)
            {
                break;
            }

            now = await LookAtAsync(now, Judge(candidate, [.. candidate.Ids.SelectMany(id => found[id])], run.UnusedSince), ct);
        }

        return now;
    }

    /// <summary>Whether a customer goes, as far as can be said before it is locked.</summary>
    private static Verdict Judge(Candidate candidate, IReadOnlyCollection<Contracts.PersonalData.V1.CustomerUse> found, DateTimeOffset unusedSince)
    {
        var used = found.Where(u => u.LastUsedAt is not null).Select(u => u.LastUsedAt.ToDateTimeOffset()).Append(candidate.UsedAt).Max();
        if (used >= unusedSince)
        {
            return new(candidate, used, IsOver: false, []);
        }

        IEnumerable<string> reasons = candidate.Held ? [LegalHold] : [];
        return new(candidate, used, IsOver: true, [.. reasons.Concat(found.SelectMany(u => u.Open)).Distinct()]);
    }

    private async Task<RetentionRun?> LookAtAsync(RetentionRun run, Verdict verdict, CancellationToken ct)
    {
        if (run.Preview || !verdict.IsOver || verdict.Reasons.Count > 0)
        {
            return await StepAsync(run, (db, held) => Enter(db, held, verdict, run.Preview ? RetentionOutcome.Due : RetentionOutcome.Erased, null), ct);
        }

        try
        {
            return await EraseAsync(run, verdict, ct);
        }
        catch (Exception exception) when (!ct.IsCancellationRequested && !Transient.Is(exception))
        {
            // One who cannot be erased is in the report, and does not hold up the others.
            var reason = exception is ProblemException ? ChangedMeanwhile : Failed;
            LogKept(exception is ProblemException ? null : exception, Ids.Customer.Format(verdict.Candidate.Id), reason);
            return await StepAsync(run, (db, held) => Enter(db, held, verdict with { Reasons = [reason] }, RetentionOutcome.Kept, null), ct);
        }
    }

    private async Task<RetentionRun?> EraseAsync(RetentionRun run, Verdict verdict, CancellationToken ct)
    {
        var key = verdict.Candidate.Id;
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<ContactsDb>();
        var erased = false;
        var next = await db.InTransactionAsync(async () =>
        {
            var held = await HoldAsync(db, run, ct);
            if (held is null or { Status: not RetentionStatus.Running })
            {
                return null;
            }

            var now = Clock.GetUtcNow();
            var customers = await db.LockWithAbsorbedAsync(key, ct);
            if (customers[key] is not { State: CustomerState.Active } customer || customer.UpdatedAt >= held.UnusedSince || !held.Lifecycles.Contains(customer.Lifecycle.ToWord()))
            {
                Enter(db, held, verdict with { IsOver = false }, RetentionOutcome.Kept, null);
            }
            else if (await db.LegalHolds.AnyAsync(h => customers.Keys.Contains(h.CustomerId) && h.LiftedAt == null, ct))
            {
                Enter(db, held, verdict with { Reasons = [LegalHold] }, RetentionOutcome.Kept, null);
            }
            else
            {
                var erasure = await EraseCustomer.EraseAsync(
                    db, key, customers, held.Cause, db.Actor(), scope.ServiceProvider.GetRequiredService<SignedStatements>(),
                    scope.ServiceProvider.GetRequiredService<IOptions<ErasureOptions>>().Value, now, ct);
                Enter(db, held, verdict, RetentionOutcome.Erased, erasure.Id);
                erased = true;
            }

            held.Wait(now + Lease, []);
            await db.SaveChangesAsync(ct);
            return held;
        }, ct);
        if (erased)
        {
            Erasures.Add(1);
        }

        return next;
    }

    /// <param name="outcome">Of one who is over its time and whom nothing keeps.</param>
    private static void Enter(ContactsDb db, RetentionRun run, Verdict verdict, RetentionOutcome outcome, Guid? erasure)
    {
        RetentionOutcome? result = !verdict.IsOver ? null : verdict.Reasons.Count > 0 ? RetentionOutcome.Kept : outcome;
        run.Count(verdict.Candidate.UpdatedAt, verdict.Candidate.Id, result, verdict.Reasons);
        if (result is { } entered)
        {
            db.RetentionResults.Add(new(run.Id, verdict.Candidate.Id, entered, verdict.Reasons, verdict.LastUsedAt, erasure));
        }
    }

    private void Finish(RetentionRun run, RetentionStatus status, bool limitReached) => run.Finish(status, limitReached, Clock.GetUtcNow());

    /// <summary>A change of the run in one transaction: the run as it is then, or null when it does not go on here.</summary>
    private Task<RetentionRun?> StepAsync(RetentionRun run, Action<ContactsDb, RetentionRun> change, CancellationToken ct) => InTransactionAsync(async db =>
    {
        if (await HoldAsync(db, run, ct) is not { Status: RetentionStatus.Running } held)
        {
            return null;
        }

        held.Wait(Clock.GetUtcNow() + Lease, []);
        change(db, held);
        await db.SaveChangesAsync(ct);
        return held.Status == RetentionStatus.Running ? held : null;
    }, ct);

    /// <summary>
    /// The run, nobody else's until the transaction ends; null when another replica has gone on with it. One whose policy was
    /// made inactive is stopped.
    /// </summary>
    private async Task<RetentionRun?> HoldAsync(ContactsDb db, RetentionRun run, CancellationToken ct)
    {
        var held = (await db.RetentionRuns.ForUpdate($"id = {run.Id}").ToListAsync(ct)).Single();
        if (held.Status != RetentionStatus.Running || (held.CursorAt, held.CursorId) != (run.CursorAt, run.CursorId))
        {
            return null;
        }

        if (!held.Preview && !await db.RetentionPolicies.AnyAsync(p => p.Id == held.PolicyId && p.Active, ct))
        {
            Finish(held, RetentionStatus.Stopped, limitReached: false);
            await db.SaveChangesAsync(ct);
        }

        return held;
    }

    private async Task<List<Candidate>> ReadPageAsync(RetentionRun run, CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<ContactsDb>();
        var lifecycles = run.Lifecycles.ToArray();
        return await db.Database.SqlQuery<Candidate>($"""
            SELECT c.id, c.updated_at, c.ids,
                greatest(c.updated_at, (SELECT max(s.at) FROM consents s WHERE s.customer_id = ANY (c.ids))) AS used_at,
                EXISTS (SELECT FROM legal_holds h WHERE h.lifted_at IS NULL AND h.customer_id = ANY (c.ids)) AS held
            FROM (
                SELECT id, updated_at, ARRAY(SELECT customers_below(ARRAY[id])) AS ids FROM customers
                WHERE state = 'active' AND lifecycle = ANY ({lifecycles}) AND updated_at < {run.UnusedSince} AND (updated_at, id) > ({run.CursorAt}, {run.CursorId})
                ORDER BY updated_at, id LIMIT {PageSize}) AS c
            ORDER BY c.updated_at, c.id
            """).ToListAsync(ct);
    }

    private async Task<T> InTransactionAsync<T>(Func<ContactsDb, Task<T>> work, CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<ContactsDb>();
        return await db.InTransactionAsync(() => work(db), ct);
    }

    [LoggerMessage(LogLevel.Warning, "{CustomerId} is over its time and stays until the next run: {Reason}")]
    private partial void LogKept(Exception? exception, string customerId, string reason);

    /// <summary>A customer whose record nobody has changed for as long as the policy says.</summary>
    /// <param name="UsedAt">As far as this service knows.</param>
    /// <param name="Ids">With all who were merged into it.</param>
    private sealed record Candidate(
        [property: Column("id")] Guid Id, [property: Column("updated_at")] DateTimeOffset UpdatedAt, [property: Column("ids")] Guid[] Ids,
        [property: Column("used_at")] DateTimeOffset UsedAt, [property: Column("held")] bool Held);

    private sealed record Verdict(Candidate Candidate, DateTimeOffset LastUsedAt, bool IsOver, List<string> Reasons);
}

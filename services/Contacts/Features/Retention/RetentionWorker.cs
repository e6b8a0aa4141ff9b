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
/// Begins the runs of active policies and goes through their customers, the longest unused first: asks the other services
/// when they were used, and hands those who are over their time to the erasure, one a transaction with what the
/// report says of it, so that a kill costs nothing. Replicas take pages of runs in turn.
/// </summary>
internal sealed partial class RetentionWorker(
    IServiceScopeFactory scopes, RetentionSignal signal, LastUses uses, IOptions<RetentionOptions> options, TimeProvider clock, ILogger<RetentionWorker> logger)
    : RepeatedWork(TimeSpan.FromSeconds(2), clock, logger, signal)
{
    private const int PageSize = 50;
    private const int Tries = 3;
    private const int SweptAtOnce = 10_000;
    private const string ChangedMeanwhile = "changed_meanwhile";
    private const string Failed = "failed";

    /// <summary>So long after the last sign of life of a replica another one takes its run.</summary>
    private static readonly TimeSpan Lease = TimeSpan.FromMinutes(1);

    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan SweepEvery = TimeSpan.FromHours(1);

    /// <summary>What this service knows of the customers <c>c.ids</c>, who are one, besides their record.</summary>
    private const string OwnUse = """
        greatest(
            (SELECT max(greatest(s.at, s.recorded_at)) FROM consents s WHERE s.customer_id = ANY (c.ids)),
            (SELECT max(r.updated_at) FROM relationships r WHERE r.from_id = ANY (c.ids) OR r.to_id = ANY (c.ids)),
            (SELECT max(greatest(m.created_at, least(m.ends_at, now()))) FROM account_managers m WHERE m.customer_id = ANY (c.ids))) AS used_at,
        array_remove(ARRAY[
            CASE WHEN EXISTS (SELECT FROM legal_holds h WHERE h.lifted_at IS NULL AND h.customer_id = ANY (c.ids)) THEN 'legal_hold' END,
            CASE WHEN EXISTS (SELECT FROM change_requests q WHERE q.status = 'pending' AND (q.customer_id = ANY (c.ids) OR q.concerned && c.ids)) THEN 'change_request' END,
            CASE WHEN EXISTS (SELECT FROM exports e WHERE e.status = 'running' AND e.customer_ids && c.ids) THEN 'export' END], NULL) AS reasons
        """;

    private static readonly System.Diagnostics.Metrics.Counter<long> Erasures =
        Telemetry.Meter.CreateCounter<long>("crm.contacts.retention.erased", description: "Customers who were erased because nobody had used them for as long as a retention policy says");

    private DateTimeOffset _sweptAt;

    protected override async Task RunAsync(CancellationToken ct)
    {
        do
        {
            await BeginDueAsync(ct);
        }
        while (await ContinueNextAsync(ct));

        if (Clock.GetUtcNow() is var now && now - _sweptAt >= SweepEvery)
        {
            _sweptAt = now;
            await SweepReportsAsync(now.AddDays(-options.Value.ReportDays), ct);
        }
    }

    private Task BeginDueAsync(CancellationToken ct) => InTransactionAsync(async db =>
    {
        var now = Clock.GetUtcNow();
        var due = await db.RetentionPolicies.ForUpdate($"""
            active AND next_run_at <= {now} AND NOT EXISTS (SELECT FROM retention_runs r WHERE r.policy_id = retention_policies.id AND r.status = 'running') ORDER BY id
            """, skipLocked: true).ToListAsync(ct);
        if (due.Count == 0)
        {
            return 0;
        }

        // Once more when the policies are held: who asks for a run holds its policy too.
        var running = await db.RetentionRuns.Where(r => r.Status == RetentionStatus.Running).Select(r => r.PolicyId).ToListAsync(ct);
        foreach (var policy in due.Where(p => !running.Contains(p.Id)))
        {
            policy.RunAgainAt(now.AddHours(options.Value.EveryHours));
            db.BeginRun(policy, preview: false, db.Actor(), now);
        }

        await db.SaveChangesAsync(ct);
        return due.Count;
    }, ct);

    /// <summary>Whom a run has erased stays in its report; who was not is looked at anew by each run.</summary>
    private async Task SweepReportsAsync(DateTimeOffset before, CancellationToken ct)
    {
        while (await InTransactionAsync(db => db.Database.ExecuteSqlAsync($"""
            DELETE FROM retention_results WHERE (run_id, customer_id) IN (
                SELECT r.run_id, r.customer_id FROM retention_runs run JOIN retention_results r ON r.run_id = run.id
                WHERE run.started_at < {before} AND r.outcome <> 'erased' LIMIT {SweptAtOnce})
            """, ct), ct) == SweptAtOnce)
        {
        }
    }

    /// <summary>A page of the run that has waited longest; false when no run waits.</summary>
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

        if (await ContinueAsync(run, ct) is { } more)
        {
            await StepAsync(more, (_, held) => Done(() => held.Wait(Clock.GetUtcNow(), [])), ct);
        }

        return true;
    }

    /// <summary>The next page of a run; null when it is at its end, waits or is somebody else's.</summary>
    private async Task<RetentionRun?> ContinueAsync(RetentionRun run, CancellationToken ct)
    {
        var page = await ReadPageAsync(run, ct);
        if (page.Count == 0 || run.IsFull)
        {
            return await StepAsync(run, (db, held) => Done(() => Finish(db, held, RetentionStatus.Completed, limitReached: page.Count > 0)), ct);
        }

        if (await AskAsync(run, [.. page.SelectMany(c => c.Ids)], ct) is not { } found)
        {
            return null;
        }

        RetentionRun? now = run;
        var passed = new List<Verdict>();
        foreach (var candidate in page)
        {
            var verdict = Judge(candidate, found, run.UnusedSince);
            if (run.Preview || !verdict.Goes)
            {
                passed.Add(verdict);
                continue;
            }

            now = await EnterAsync(now, passed, ct);
            passed.Clear();
            if (now is null || now.IsFull)
            {
                return now;
            }

            now = await LookAtAsync(now, candidate, ct);
            if (now is null)
            {
                return null;
            }
        }

        return await EnterAsync(now, passed, ct);
    }

    /// <summary>Null when services have not answered; then the run waits for them.</summary>
    private async Task<ILookup<Guid, Contracts.PersonalData.V1.CustomerUse>?> AskAsync(RetentionRun run, Guid[] customers, CancellationToken ct)
    {
        var (found, missing) = await uses.FindAsync(customers, ct);
        if (missing.Count == 0)
        {
            return found;
        }

        await StepAsync(run, (_, held) => Done(() => held.Wait(Clock.GetUtcNow() + Pause, missing)), ct);
        return null;
    }

    /// <summary>Whether a customer goes, as far as can be said before it is locked.</summary>
    private static Verdict Judge(Candidate candidate, ILookup<Guid, Contracts.PersonalData.V1.CustomerUse> uses, DateTimeOffset unusedSince)
    {
        List<Contracts.PersonalData.V1.CustomerUse> found = [.. candidate.Ids.SelectMany(id => uses[id])];
        var used = found.Where(u => u.LastUsedAt is not null).Select(u => u.LastUsedAt.ToDateTimeOffset()).Append(candidate.UpdatedAt).Append(candidate.UsedAt ?? candidate.UpdatedAt).Max();
        return used >= unusedSince
            ? new(candidate, used, IsOver: false, [])
            : new(candidate, used, IsOver: true, [.. candidate.Reasons.Concat(found.SelectMany(u => u.Open)).Distinct()]);
    }

    /// <summary>Those whom a run passes by, in their order, in one transaction. The report says nothing of who was erased meanwhile.</summary>
    private async Task<RetentionRun?> EnterAsync(RetentionRun? run, IReadOnlyCollection<Verdict> passed, CancellationToken ct) => run is null || passed.Count == 0
        ? run
        : await StepAsync(run, async (db, held) =>
        {
            var ids = passed.Select(v => v.Candidate.Id).ToArray();
            var there = await db.Database.SqlQuery<Guid>($"SELECT id AS \"Value\" FROM customers WHERE id = ANY ({ids}) AND state = 'active' ORDER BY id FOR SHARE").ToListAsync(ct);
            foreach (var verdict in passed)
            {
                Enter(db, held, verdict, RetentionOutcome.Due, null, told: there.Contains(verdict.Candidate.Id));
            }
        }, ct);

    /// <summary>
    /// One who goes, as the page says. What the services have said of it is as old as the erasures of those before it, so they are
    /// asked once more. One who cannot be erased is in the report, and does not hold up the others.
    /// </summary>
    private async Task<RetentionRun?> LookAtAsync(RetentionRun run, Candidate candidate, CancellationToken ct)
    {
        if (await AskAsync(run, candidate.Ids, ct) is not { } found)
        {
            return null;
        }

        var verdict = Judge(candidate, found, run.UnusedSince);
        if (!verdict.Goes)
        {
            return await EnterAsync(run, [verdict], ct);
        }

        try
        {
            return await EraseAsync(run, verdict, ct);
        }
        catch (Exception exception) when (!ct.IsCancellationRequested && Transient.Is(exception) && run.Attempts + 1 < Tries)
        {
            LogPutOff(Ids.Customer.Format(candidate.Id), exception.GetType().Name);
            await StepAsync(run, (_, held) => Done(() => held.TryAgain(Clock.GetUtcNow() + Pause)), ct);
            return null;
        }
        catch (Exception exception) when (!ct.IsCancellationRequested)
        {
            var reason = exception is ProblemException ? ChangedMeanwhile : Failed;
            LogKept(exception is ProblemException ? null : exception, Ids.Customer.Format(candidate.Id), reason);
            return await EnterAsync(run, [verdict with { Reasons = [reason] }], ct);
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
            if (await HoldAsync(db, run, ct) is not { Status: RetentionStatus.Running } held)
            {
                return null;
            }

            var now = Clock.GetUtcNow();
            var customers = await db.LockWithAbsorbedAsync(key, ct);
            Guid[] ids = [.. customers.Keys];
            var known = await db.Database.SqlQueryRaw<Known>($"SELECT {OwnUse} FROM (SELECT @ids AS ids) AS c", new Npgsql.NpgsqlParameter<Guid[]>("ids", ids)).SingleAsync(ct);
            if (ids.Except(verdict.Candidate.Ids).Any() || customers[key] is not { State: CustomerState.Active } customer || customer.UpdatedAt >= held.UnusedSince
                || known.UsedAt >= held.UnusedSince || !held.Lifecycles.Contains(customer.Lifecycle.ToWord()))
            {
                Enter(db, held, verdict with { Reasons = [ChangedMeanwhile] }, RetentionOutcome.Kept, null);
            }
            else if (known.Reasons.Length > 0)
            {
                Enter(db, held, verdict with { Reasons = [.. known.Reasons] }, RetentionOutcome.Kept, null);
            }
            else
            {
                var erasure = await EraseCustomer.EraseAsync(
                    db, key, customers, held.Cause, held.Actor, scope.ServiceProvider.GetRequiredService<SignedStatements>(),
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
    /// <param name="told">Whether the report names the customer.</param>
    private static void Enter(ContactsDb db, RetentionRun run, Verdict verdict, RetentionOutcome outcome, Guid? erasure, bool told = true)
    {
        RetentionOutcome? result = !verdict.IsOver ? null : verdict.Reasons.Count > 0 ? RetentionOutcome.Kept : outcome;
        run.Count(verdict.Candidate.UpdatedAt, verdict.Candidate.Id, result, verdict.Reasons);
        if (result is { } entered && told)
        {
            db.RetentionResults.Add(new(run.Id, verdict.Candidate.Id, entered, verdict.Reasons, verdict.LastUsedAt, erasure));
        }
    }

    private void Finish(ContactsDb db, RetentionRun run, RetentionStatus status, bool limitReached)
    {
        run.Finish(status, limitReached, Clock.GetUtcNow());
        db.AuditRow(RetentionRun.RecordType, run.Id, null, run);
    }

    /// <summary>A change of the run in one transaction: the run as it is then, or null when it does not go on here.</summary>
    private Task<RetentionRun?> StepAsync(RetentionRun run, Func<ContactsDb, RetentionRun, Task> change, CancellationToken ct) => InTransactionAsync(async db =>
    {
        if (await HoldAsync(db, run, ct) is not { Status: RetentionStatus.Running } held)
        {
            return null;
        }

        held.Wait(Clock.GetUtcNow() + Lease, []);
        await change(db, held);
        await db.SaveChangesAsync(ct);
        return held.Status == RetentionStatus.Running ? held : null;
    }, ct);

    /// <summary>
    /// The run, nobody else's until the transaction ends; null when another replica has gone on with it. One whose policy was
    /// changed is stopped, and the policy is not changed until the transaction ends.
    /// </summary>
    private async Task<RetentionRun?> HoldAsync(ContactsDb db, RetentionRun run, CancellationToken ct)
    {
        var held = (await db.RetentionRuns.ForUpdate($"id = {run.Id}").ToListAsync(ct)).Single();
        if (held.Status != RetentionStatus.Running || (held.CursorAt, held.CursorId) != (run.CursorAt, run.CursorId))
        {
            return null;
        }

        if (!held.Preview && await db.Database.SqlQuery<long>($"SELECT version AS \"Value\" FROM retention_policies WHERE id = {held.PolicyId} FOR SHARE").ToListAsync(ct) is [var version] && version != held.PolicyVersion)
        {
            Finish(db, held, RetentionStatus.Stopped, limitReached: false);
            await db.SaveChangesAsync(ct);
        }

        return held;
    }

    private static Task Done(Action change)
    {
        change();
        return Task.CompletedTask;
    }

    private async Task<List<Candidate>> ReadPageAsync(RetentionRun run, CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<ContactsDb>();
        using var unhurried = db.AllowLongStatements();
        var lifecycles = run.Lifecycles.ToArray();
        return await db.Database.SqlQueryRaw<Candidate>(
            $$"""
            SELECT c.id, c.updated_at, c.ids, {{OwnUse}}
            FROM (
                SELECT id, updated_at, ARRAY(SELECT customers_below(ARRAY[id])) AS ids FROM customers
                WHERE state = 'active' AND lifecycle = ANY ({0}) AND updated_at < {1} AND (updated_at, id) > ({2}, {3})
                ORDER BY updated_at, id LIMIT {4}) AS c
            ORDER BY c.updated_at, c.id
            """,
            lifecycles, run.UnusedSince, run.CursorAt, run.CursorId, PageSize).ToListAsync(ct);
    }

    private async Task<T> InTransactionAsync<T>(Func<ContactsDb, Task<T>> work, CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<ContactsDb>();
        return await db.InTransactionAsync(() => work(db), ct);
    }

    [LoggerMessage(LogLevel.Warning, "{CustomerId} is over its time and stays until the next run: {Reason}")]
    private partial void LogKept(Exception? exception, string customerId, string reason);

    [LoggerMessage(LogLevel.Warning, "{CustomerId} is tried again ({Error})")]
    private partial void LogPutOff(string customerId, string error);

    /// <summary>A customer whose record nobody has changed for as long as the policy says.</summary>
    /// <param name="Ids">With all who were merged into it.</param>
    /// <param name="UsedAt">As far as this service knows besides.</param>
    /// <param name="Reasons">What keeps it here.</param>
    private sealed record Candidate(
        [property: Column("id")] Guid Id, [property: Column("updated_at")] DateTimeOffset UpdatedAt, [property: Column("ids")] Guid[] Ids,
        [property: Column("used_at")] DateTimeOffset? UsedAt, [property: Column("reasons")] string[] Reasons);

    private sealed record Known([property: Column("used_at")] DateTimeOffset? UsedAt, [property: Column("reasons")] string[] Reasons);

    /// <param name="Reasons">What keeps one who is over its time.</param>
    private sealed record Verdict(Candidate Candidate, DateTimeOffset LastUsedAt, bool IsOver, List<string> Reasons)
    {
        public bool Goes => IsOver && Reasons.Count == 0;
    }
}

using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Merges;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Contacts.Features.Duplicates;
using Crm.Contacts.Features.Lifecycles;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.Merges;

/// <summary>
/// Carries out a previewed merge: 202 with the merge, which is <c>completed</c> when all services have moved their rows.
/// The same token again answers the same merge. 409 <c>preview_outdated</c> when a record changed since the preview, 409
/// <c>two_paying_accounts</c> when two of them pay in the same billing source; an account that is opened there a moment later is
/// in the <c>blockers</c> of the merge. 202 with a change request when records belong to other departments that approve such
/// changes: every department that is asked has to approve it.
/// </summary>
internal static class MergeCustomers
{
    public sealed record Request
    {
        /// <summary>Of the preview.</summary>
        [Required, Line(200)]
        public string? Token { get; init; }

        /// <summary>Why they are one customer.</summary>
        [Required, Line(500)]
        public string? Reason { get; init; }
    }

    public static async Task<IResult> Handle(
        Request body, HttpContext http, ContactsDb db, MergeImpact impact, IOptions<MergeOptions> options, TimeProvider clock, CancellationToken ct)
    {
        var hash = PreviewMerge.HashOf(body.Token!);
        if (await AskAsync(hash, body.Reason!, null, http, db, impact, clock, ct) is { } asked)
        {
            return asked;
        }

        var id = await RunAsync(hash, body.Reason!, http.User.Subject(), db, impact, options.Value, clock, _ => Task.CompletedTask, ct);
        var view = await db.FindMergeAsync(id, options.Value, clock, ct);
        return TypedResults.Accepted($"/v1/merges/{view.Id}", view);
    }

    /// <param name="hash">Of the preview's token.</param>
    /// <param name="alongside">What else happens in the merge's transaction, given its id.</param>
    public static async Task<Guid> RunAsync(
        byte[] hash, string reason, string actor, ContactsDb db, MergeImpact impact, MergeOptions options, TimeProvider clock, Func<Guid, Task> alongside, CancellationToken ct)
    {
        var preview = await FindAsync(hash, db, ct);
        if (preview.MergeId is null)
        {
            await RequireUnblockedAsync(preview, db, impact, ct);
        }

        try
        {
            return await db.InTransactionAsync(async () =>
            {
                var (id, isNew) = await MergeAsync(hash, reason, actor, db, options, clock, ct);
                if (isNew)
                {
                    await alongside(id);
                }

                return id;
            }, ct);
        }
        catch (DbUpdateConcurrencyException)
        {
            throw Outdated("A record changed at this moment; preview again.");
        }
    }

    /// <summary>The change request when records belong to departments that have to be asked; the same merge again answers the same. Null: the merge can be made.</summary>
    /// <param name="hash">Of the preview's token.</param>
    /// <param name="duplicate">The pair that the merge decides, where it came from one.</param>
    public static async Task<IResult?> AskAsync(
        byte[] hash, string reason, Guid? duplicate, HttpContext http, ContactsDb db, MergeImpact impact, TimeProvider clock, CancellationToken ct)
    {
        var preview = await FindAsync(hash, db, ct);
        var ids = preview.Members.Select(m => m.Id).ToList();
        var customers = await db.Customers.AsNoTracking().Where(c => ids.Contains(c.Id)).ToDictionaryAsync(c => c.Id, ct);
        if (customers.Count < ids.Count)
        {
            throw UnknownPreview();
        }

        if (preview.MergeId is not null || await db.WhomToAskAsync(customers.Values, ct) is not { Count: > 0 } departments)
        {
            return null;
        }

        await RequireUnblockedAsync(preview, db, impact, ct);
        var (survivor, now) = (customers[preview.SurvivorId], clock.GetUtcNow());
        // Where a department that is asked sees it.
        var filed = customers.Values.OrderBy(c => c.Id != survivor.Id).ThenBy(c => c.Id).First(c => c.Department is { } owner && departments.Contains(owner));
        return await db.InTransactionAsync(async () =>
        {
            var held = (await db.MergePreviews.ForUpdate($"token_hash = {hash}").ToListAsync(ct)).Single();
            RequireSame(held, customers, now);
            // Two who ask for one merge at once have a preview each: the second finds the first one's request.
            await db.Database.ExecuteSqlAsync($"SELECT FROM customers WHERE id = {filed.Id} FOR UPDATE", ct);
            var wanted = JsonSerializer.SerializeToNode(new
            {
                survivor_id = Ids.Customer.Format(survivor.Id),
                absorbed_ids = ids.Where(id => id != survivor.Id).Select(id => Ids.Customer.Format(id)).Order(StringComparer.Ordinal),
                choices = held.Choices.ToDictionary(c => c.Key, c => Ids.Customer.Format(c.Value)),
                departments,
            })!.AsObject();
            var pending = await db.ChangeRequests.AsNoTracking().Where(r => r.CustomerId == filed.Id && r.Operation == ChangeOperation.MergeCustomers && r.Status == ChangeRequestStatus.Pending).ToListAsync(ct);
            if (pending.Find(r => wanted.All(w => JsonNode.DeepEquals(r.Wanted[w.Key], w.Value))) is { } same)
            {
                var kept = Convert.FromBase64String((string)same.Before["preview"]!);
                if (await db.MergePreviews.AnyAsync(p => p.TokenHash == kept && p.ExpiresAt >= now, ct))
                {
                    return AskForChange.Accepted(same, filed);
                }

                // It has waited so long that nobody can approve it any more.
                db.Outdate((await db.ChangeRequests.ForUpdate($"id = {same.Id}").ToListAsync(ct)).Single(), now);
            }

            // The preview waits with the request.
            held.ExpiresAt = now + PreviewMerge.LifetimeForApproval;
            wanted["reason"] = reason;
            return await db.AskAsync(http, filed, new(
                ChangeOperation.MergeCustomers,
                wanted,
                new()
                {
                    ["preview"] = Convert.ToBase64String(hash),
                    ["versions"] = new JsonObject(preview.Members.Select(m => KeyValuePair.Create(Ids.Customer.Format(m.Id), (JsonNode?)m.Version))),
                    ["duplicate"] = duplicate is { } pair ? Ids.Duplicate.Format(pair) : null,
                },
                Concerned: ids), now, ct);
        }, ct);
    }

    private static async Task<MergePreview> FindAsync(byte[] hash, ContactsDb db, CancellationToken ct) =>
        await db.MergePreviews.AsNoTracking().FirstOrDefaultAsync(p => p.TokenHash == hash, ct)
            ?? throw UnknownPreview();

    private static ProblemException UnknownPreview() =>
        new(ProblemCodes.UnknownReference, "There is no such preview.", new FieldError("/token", "unknown_reference"));

    /// <exception cref="ProblemException">409 <c>preview_outdated</c>.</exception>
    private static void RequireSame(MergePreview preview, Dictionary<Guid, Customer> customers, DateTimeOffset now)
    {
        if (preview.ExpiresAt < now)
        {
            throw Outdated("The preview is too old; preview again.");
        }

        if (preview.Members.Find(m => customers[m.Id].Version != m.Version || customers[m.Id].State != CustomerState.Active) is { } changed)
        {
            throw Outdated($"{Ids.Customer.Format(changed.Id)} changed since the preview; preview again.");
        }
    }

    private static async Task<(Guid Id, bool IsNew)> MergeAsync(byte[] hash, string reason, string actor, ContactsDb db, MergeOptions options, TimeProvider clock, CancellationToken ct)
    {
        // Of two requests with one token, the second finds it used.
        var preview = (await db.MergePreviews.ForUpdate($"token_hash = {hash}").ToListAsync(ct)).Single();
        if (preview.MergeId is { } done)
        {
            return (done, false);
        }

        var ids = preview.Members.Select(m => m.Id).ToArray();
        await db.LockCustomersAsync(ids, ct);
        // What was said while this waited was said before.
        var now = clock.GetUtcNow();
        var customers = await db.Whole().Where(c => ids.Contains(c.Id)).ToDictionaryAsync(c => c.Id, ct);
        RequireSame(preview, customers, now);
        foreach (var member in customers.Values)
        {
            await db.RequireDepartmentAsync(member, ct);
        }

        var survivor = customers[preview.SurvivorId];
        var absorbed = customers.Values.Where(c => c.Id != survivor.Id).OrderBy(c => c.Id).ToList();
        var absorbedIds = absorbed.ConvertAll(c => c.Id);
        var merge = Merge.Begin(Guid.CreateVersion7(now), survivor.Id, absorbedIds, reason, actor, preview.Manifest, now);
        preview.MergeId = merge.Id;
        var externalIds = absorbed.Sum(c => c.ExternalIds.Count);
        var before = customers.Values.ToDictionary(c => c.Id, c => c.ToInput());
        var held = (await db.HeldLifecycleAsync(survivor.Id, ids, ct))?.ToState ?? survivor.Lifecycle;
        survivor.Absorb(absorbed, new(merge.Id, now, MergePlan.Order(absorbed, options), preview.Choices));
        if (preview.Choices.ContainsKey("lifecycle"))
        {
            survivor.KeepChosenLifecycle(held, merge.Id, actor, now);
        }
        else
        {
            survivor.SettleLifecycle(held);
        }

        // What the survivor takes over of unique fields is free from now on; rows are saved in an order of their own.
        await db.Database.ExecuteSqlAsync($"UPDATE customers SET state = 'merged' WHERE id = ANY ({absorbedIds})", ct);
        db.Merges.Add(merge);
        foreach (var customer in customers.Values)
        {
            db.Audit("merged", Customer.RecordType, customer.Id, customer.Id, AuditChanges.Between(before[customer.Id], customer.ToInput()));
        }

        await db.SaveChangesAsync(ct);

        var counts = await MergedRows.MoveAsync(db, [.. absorbedIds], survivor.Id, ct);
        counts["external_ids"] = externalIds;
        await db.ReplayConsentsAsync([survivor.Id], now, ct);
        await db.DecidePairsAsync(merge, now, ct);
        merge.Take(new()
        {
            Phase = MergePhase.Merge,
            Service = "contacts",
            Counts = counts,
            StayedCounts = [],
            Stayed = [],
            At = now,
        }, now);
        db.Publish(merge, new CustomersMerged(
            Ids.Merge.Format(merge.Id), Ids.Customer.Format(survivor.Id), [.. absorbedIds.Select(id => Ids.Customer.Format(id))],
            [.. customers.Values.Select(c => c.Snapshot())], now));
        await db.SaveChangesAsync(ct);
        return (merge.Id, true);
    }

    private static async Task RequireUnblockedAsync(MergePreview preview, ContactsDb db, MergeImpact impact, CancellationToken ct)
    {
        var blockers = await impact.FindBlockersAsync(db, preview.SurvivorId, preview.Members.Select(m => m.Id).Where(id => id != preview.SurvivorId), ct);
        if (blockers.Count > 0)
        {
            throw new ProblemException(
                ProblemCodes.TwoPayingAccounts, "Two of the customers pay in the same billing source; end one of the accounts there first.",
                [.. blockers.Select(b => new FieldError("/token", b.Code, $"{b.Source}: {string.Join(", ", b.CustomerIds)}"))])
            {
                Extensions = new Dictionary<string, object?> { ["blockers"] = blockers },
            };
        }
    }

    private static ProblemException Outdated(string detail) => new(ProblemCodes.PreviewOutdated, detail, new FieldError("/token", "preview_outdated"));
}

using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Merges;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.Duplicates;
using Crm.Contacts.Features.Erasures;
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
/// Undoes a merge, in whatever order merges were made: the absorbed customers are themselves again with their fields and
/// every row that was recorded under them, except external ids and values of unique fields that others have by now, which are in
/// <c>not_given_back</c>; what was recorded or edited since stays with the survivor and is listed.
/// Consents refused, withdrawn or paused since hold for all of them; what was entered for the restored is in <c>carried_consents</c>.
/// A legal hold set since binds all of them likewise; those set on the restored are in <c>carried_holds</c>.
/// 202 with the merge, which is <c>undone</c> when all services have given their rows back. Again, it answers the same.
/// 409 <c>merge_undo_expired</c> after <c>Merges:UndoDays</c>, 409 <c>merge_erased</c> when one of them was erased, 410
/// <c>customer_deleted</c> while they are in the recycle bin. 202 with a change request when records belong to other departments
/// that approve such changes.
/// </summary>
internal static class UndoMerge
{
    private const int Listed = 1000;

    public sealed record Request
    {
        /// <summary>Why they are not one customer after all.</summary>
        [Required, Line(500)]
        public string? Reason { get; init; }
    }

    public static async Task<IResult> Handle(
        string id, Request body, HttpContext http, ContactsDb db, IOptions<MergeOptions> options, IOptions<LifecycleOptions> lifecycles, TimeProvider clock, CancellationToken ct)
    {
        if (!Ids.Merge.TryParse(id, out var key))
        {
            throw ProblemException.NotFound("merge");
        }

        if (await RunAsync(key, body, http, db, options.Value, lifecycles.Value, clock, ct) is { } asked)
        {
            return asked;
        }

        var view = await db.FindMergeAsync(key, options.Value, clock, ct);
        return TypedResults.Accepted($"/v1/merges/{view.Id}", view);
    }

    /// <returns>The change request when a department has to be asked; null: it is being undone.</returns>
    public static Task<IResult?> RunAsync(Guid key, Request body, HttpContext http, ContactsDb db, MergeOptions options, LifecycleOptions lifecycles, TimeProvider clock, CancellationToken ct) => db.InTransactionAsync(async () =>
    {
        var merge = (await db.Merges.ForUpdate($"id = {key}").Include(m => m.Receipts).ToListAsync(ct)).SingleOrDefault()
            ?? throw ProblemException.NotFound("merge");
        if (merge.UndoAskedAt is not null)
        {
            return null;
        }

        if (merge.ErasedAt is not null)
        {
            throw new ProblemException(ProblemCodes.MergeErased, "A customer of this merge was erased.");
        }

        if (merge.MergedAt.AddDays(options.UndoDays) < clock.GetUtcNow())
        {
            throw new ProblemException(ProblemCodes.MergeUndoExpired, $"A merge can be undone for {options.UndoDays} days.");
        }

        var way = await LockWayAsync(merge, db, ct);
        // What was said, and merged, while this waited was before.
        var now = clock.GetUtcNow();
        way[^1].OutOfBin();
        var absorbed = await db.Customers.AsNoTracking().Where(c => merge.AbsorbedIds.Contains(c.Id)).ToListAsync(ct);
        if (absorbed.Count < merge.AbsorbedIds.Count)
        {
            throw ProblemException.NotFound("merge");
        }

        if (await db.WhomToAskAsync([.. way, .. absorbed], ct) is { Count: > 0 } departments)
        {
            return await db.AskAsync(http, way[^1], new(
                ChangeOperation.UndoMerge, JsonSerializer.SerializeToNode(new { reason = body.Reason, departments })!.AsObject(), [],
                merge.Id, [.. way.Select(c => c.Id), .. merge.AbsorbedIds]), now, ct);
        }

        await UndoAsync(merge, way, body.Reason!, http.User.Subject(), db, lifecycles.LapsedBefore(now), now, ct);
        return (IResult?)null;
    }, ct);

    private static async Task UndoAsync(Merge merge, List<Customer> way, string reason, string actor, ContactsDb db, DateTimeOffset lapsedBefore, DateTimeOffset now, CancellationToken ct)
    {
        var restored = await db.Whole().Where(c => merge.AbsorbedIds.Contains(c.Id)).OrderBy(c => c.Id).ToListAsync(ct);
        var undo = new Undo(merge, way, LayersOnWay(merge, way), restored, actor, now);
        // Before the fields are folded anew, which forgets the merge's layer.
        var kept = KeptEditsOf(undo);
        var before = undo.All.ToDictionary(c => c.Id, c => c.ToInput());
        var (missing, externalIds) = await SeparateAsync(undo, db, ct);

        merge.BeginUndo(reason, actor, kept, now);
        await db.TakePairsApartAsync(merge, reason, actor, now, ct);
        var givenUp = await db.GiveUpTakenAsync([undo.Present, .. restored], ct);
        merge.KeepBack(missing.Concat(givenUp.Select(g => new NotGivenBack(Ids.Customer.Format(g.Customer), $"{FieldJson.Attributes}.{g.Field}"))));
        await SaveSeparatedAsync(undo, db, ct);

        var counts = await MergedRows.GiveBackAsync(db, undo.RestoredIds, undo.Present.Id, ct);
        counts["external_ids"] = externalIds;
        await SettleLifecyclesAsync(merge, [.. undo.All], db, lapsedBefore, now, ct);
        foreach (var customer in undo.All)
        {
            db.Audit("unmerged", Customer.RecordType, customer.Id, customer.Id, AuditChanges.Between(before[customer.Id], customer.ToInput()));
        }

        await CarryAsync(undo, db, ct);
        await GiveReceiptAsync(undo, counts, db, ct);
        PublishUndone(undo, db);
        await db.SaveChangesAsync(ct);
    }

    /// <summary>The merge by which each one on the way, from the survivor up, has to do with this one.</summary>
    private static List<MergeLayer> LayersOnWay(Merge merge, List<Customer> way) => way.Select((c, i) => i == 0
        ? c.Layers!.Changes.Select(l => l.Merge).First(m => m?.MergeId == merge.Id)!
        : c.Layers!.Changes.Select(l => l.Merge).First(m => m?.Order.Contains(way[i - 1].Id) is true)!).ToList();

    private static List<KeptEdit> KeptEditsOf(Undo undo) => undo.Way
        .Zip(undo.Layers, (c, m) => c.Layers!.EditsSince(m.MergeId).Select(e => new KeptEdit(Ids.Customer.Format(c.Id), [.. e.Fields], e.At)))
        .SelectMany(e => e).ToList();

    /// <summary>The restored have their fields again, and those on the way have no more what came from them.</summary>
    /// <returns>Whose external ids others have by now, and how many were given back.</returns>
    private static async Task<(List<NotGivenBack> Missing, int ExternalIds)> SeparateAsync(Undo undo, ContactsDb db, CancellationToken ct)
    {
        var memberIds = undo.Way.SelectMany(c => c.Layers!.Members).ToList();
        // Whoever else was absorbed by them stays, seen by the caller or not.
        var members = await db.Customers.IgnoreQueryFilters().Where(c => memberIds.Contains(c.Id)).ToDictionaryAsync(c => c.Id, ct);
        var taken = await FindTakenAsync(undo.Restored, undo.Present, db, ct);
        var missing = undo.Restored
            .Where(c => c.ToInput().ExternalIds!.Exists(e => taken.Contains((e.System!, e.Id!)) && !undo.Present.ExternalIds.Exists(r => r.System == e.System && r.Value == e.Id)))
            .Select(c => new NotGivenBack(Ids.Customer.Format(c.Id), "external_ids")).ToList();
        foreach (var customer in undo.Restored)
        {
            customer.Restore(undo.Present, e => !taken.Contains((e.System!, e.Id!)), undo.Now);
        }

        var lost = undo.Restored.SelectMany(c => c.ToInput().ExternalIds!).ToList();
        foreach (var (customer, index) in undo.Way.Select((c, i) => (c, i)))
        {
            customer.Refold(index == 0 ? undo.Merge.Id : null, members, lost, undo.Now);
        }

        return (missing, lost.Count);
    }

    /// <summary>What goes back of unique fields is free before anybody has it again; rows are saved in an order of their own.</summary>
    private static async Task SaveSeparatedAsync(Undo undo, ContactsDb db, CancellationToken ct)
    {
        var present = undo.Present.Id;
        await db.Database.ExecuteSqlAsync($"UPDATE customers SET state = 'merged' WHERE id = {present}", ct);
        await db.SaveChangesAsync(ct);
        await db.Database.ExecuteSqlAsync($"UPDATE customers SET state = 'active' WHERE id = {present}", ct);
    }

    /// <summary>Refusals and holds of the time when they were one customer hold for the restored as well.</summary>
    private static async Task CarryAsync(Undo undo, ContactsDb db, CancellationToken ct)
    {
        undo.Merge.Carry(
            await db.CarryRefusalsAsync(undo.RestoredIds, undo.Present.Id, undo.WayIds, undo.Since, undo.Actor, undo.Now, ct),
            await db.CarryHoldsAsync(undo.RestoredIds, undo.WayIds, undo.Since, undo.Actor, undo.Now, ct));
        // Published before the undo: whom other services restore has refused there already.
        await db.ReplayConsentsAsync([.. undo.RestoredIds, .. undo.WayIds], undo.Now, ct);
    }

    /// <param name="counts">Of rows that were given back, by table.</param>
    private static async Task GiveReceiptAsync(Undo undo, Dictionary<string, long> counts, ContactsDb db, CancellationToken ct)
    {
        var (stayedCounts, stayed) = await MergedRows.ListStayedAsync(db, undo.Present.Id, undo.WayIds, undo.Since, Listed, ct);
        undo.Merge.Take(new()
        {
            Phase = MergePhase.Undo,
            Service = "contacts",
            Counts = counts,
            StayedCounts = stayedCounts,
            Stayed = stayed,
            At = undo.Now,
        }, undo.Now);
    }

    private static void PublishUndone(Undo undo, ContactsDb db)
    {
        var survivors = undo.Way.Zip(undo.Since, (c, since) => new SurvivorSince(Ids.Customer.Format(c.Id), since)).ToList();
        db.Publish(undo.Merge, new MergeUndone(
            Ids.Merge.Format(undo.Merge.Id), Ids.Customer.Format(undo.Merge.SurvivorId), [.. undo.Restored.Select(c => Ids.Customer.Format(c.Id))],
            [.. undo.All.Select(c => c.Snapshot())], survivors, undo.Now));
    }

    /// <summary>
    /// Each has the lifecycle that its own steps come to, and its own orders: of several who bought while they were one, the
    /// first order alone made a step. What was chosen at the merge is void.
    /// </summary>
    private static async Task SettleLifecyclesAsync(Merge merge, List<Customer> customers, ContactsDb db, DateTimeOffset lapsedBefore, DateTimeOffset now, CancellationToken ct)
    {
        await db.Database.ExecuteSqlAsync($"UPDATE lifecycle_changes SET voided_at = {now} WHERE merge_id = {merge.Id}", ct);
        var held = await db.HeldLifecyclesAsync([.. customers.Select(c => c.Id)], ct);
        customers.ForEach(c => c.SettleLifecycle(held.GetValueOrDefault(c.Id, c.Lifecycle)));
        foreach (var customer in customers.Where(c => c.State == CustomerState.Active))
        {
            await db.FollowLastOrderAsync(customer, lapsedBefore, now, ct);
        }
    }

    /// <summary>The survivor and those who absorbed it, up to the one who stands for all now; nobody merges them meanwhile.</summary>
    private static async Task<List<Customer>> LockWayAsync(Merge merge, ContactsDb db, CancellationToken ct)
    {
        Guid[] locked = [];
        while (true)
        {
            var way = new List<Guid>();
            for (Guid? next = merge.SurvivorId; next is not null;)
            {
                var here = next.Value;
                way.Add(here);
                // One whom the caller does not see is in no merge for it.
                next = (await db.Customers.Where(c => c.Id == here).Select(c => new { c.SurvivorId }).FirstOrDefaultAsync(ct) ?? throw ProblemException.NotFound("merge")).SurvivorId;
            }

            if (locked.Contains(way[^1]))
            {
                var customers = await db.Whole().Where(c => way.Contains(c.Id)).ToDictionaryAsync(c => c.Id, ct);
                return way.ConvertAll(id => customers[id]);
            }

            locked = [.. merge.AbsorbedIds, .. way];
            await db.LockCustomersAsync(locked, ct);
        }
    }

    /// <summary>External ids of the restored that were taken from the survivor by an edit and given to others.</summary>
    private static async Task<HashSet<(string, string)>> FindTakenAsync(List<Customer> restored, Customer present, ContactsDb db, CancellationToken ct)
    {
        var gone = restored.SelectMany(c => c.ToInput().ExternalIds!).Where(e => !present.ExternalIds.Exists(r => r.System == e.System && r.Value == e.Id)).ToList();
        var values = gone.ConvertAll(e => e.Id!);
        return gone.Count == 0 ? [] : [.. (await db.ExternalIds.AsNoTracking().Where(e => values.Contains(e.Value)).Select(e => new { e.System, e.Value }).ToListAsync(ct)).Select(e => (e.System, e.Value))];
    }

    /// <summary>Whom an undo concerns.</summary>
    /// <param name="Way">The survivor and those who absorbed it, up to the one who stands for all now.</param>
    /// <param name="Layers">Of each one on the way, the merge by which it has to do with this one.</param>
    private sealed record Undo(Merge Merge, List<Customer> Way, List<MergeLayer> Layers, List<Customer> Restored, string Actor, DateTimeOffset Now)
    {
        public Customer Present => Way[^1];

        public IEnumerable<Customer> All => Restored.Concat(Way);

        public Guid[] RestoredIds { get; } = [.. Restored.Select(c => c.Id)];

        public Guid[] WayIds { get; } = [.. Way.Select(c => c.Id)];

        /// <summary>Of each one on the way, since when its rows may have been meant for one of the restored.</summary>
        public DateTimeOffset[] Since { get; } = [.. Layers.Select(l => l.At)];
    }
}

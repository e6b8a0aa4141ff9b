using System.ComponentModel.DataAnnotations;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Duplicates;
using Crm.Contacts.Domain.Merges;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>
/// The queue of pairs that may be one customer, the likeliest first, and what is decided about them. Who owns neither of
/// the two decides nothing: an acceptance goes to approval as every merge does, and the rest, which ends the question for
/// good and changes no record, is for whoever may change one of them.
/// </summary>
internal static class ReviewDuplicates
{
    public static readonly string[] Parameters = ["limit", "cursor", "status", "customer_id"];

    /// <param name="Probability">That both are one customer.</param>
    /// <param name="Weight">Of the evidence, in bits: the sum of <paramref name="Fields"/>.</param>
    /// <param name="Fields">Every field that both have, with how far it agreed.</param>
    public sealed record DuplicateView(
        string Id, DuplicateStatus Status, double Probability, double Weight, IReadOnlyList<MemberView> Customers, IReadOnlyList<FieldEvidence> Fields,
        DateTimeOffset FoundAt, DateTimeOffset? DecidedAt, string? DecidedBy, string? Reason, string? MergeId);

    public sealed record MemberView(string CustomerId, [property: FieldGroup(FieldGroups.Names)] string DisplayName);

    public sealed record Acceptance
    {
        /// <summary>Whose id goes on; default: the customer who was recorded first.</summary>
        public string? SurvivorId { get; init; }

        /// <summary>As of a merge preview.</summary>
        public Dictionary<string, string>? Choices { get; init; }

        [Line(500)]
        public string? Reason { get; init; }
    }

    public sealed record Rejection
    {
        /// <summary>Why they are two customers.</summary>
        [Line(500)]
        public string? Reason { get; init; }
    }

    public sealed record Dismissal
    {
        /// <summary>Why nobody decides it.</summary>
        [Line(500)]
        public string? Reason { get; init; }
    }

    /// <summary>Open pairs whose two are there still; with <c>status=rejected</c>, <c>merged</c> or <c>ignored</c> what became of others.</summary>
    public static async Task<Page<DuplicateView>> List(HttpRequest request, ContactsDb db, CancellationToken ct)
    {
        var limit = PageRequest.ReadLimit(request);
        var status = request.ReadWord<DuplicateStatus>("status") ?? DuplicateStatus.Open;
        var duplicates = db.SeenDuplicates().Where(d => d.Status == status);
        if (status == DuplicateStatus.Open)
        {
            duplicates = duplicates.Where(d => db.Customers.Any(c => c.Id == d.LowId && c.State == CustomerState.Active) && db.Customers.Any(c => c.Id == d.HighId && c.State == CustomerState.Active));
        }

        if (request.Query["customer_id"] is [{ } text])
        {
            var customer = Ids.Customer.TryParse(text, out var id) ? await db.RootOfAsync(id, ct) ?? id : throw ProblemException.InvalidParameter("customer_id", "A customer id, cus_….");
            duplicates = duplicates.Where(d => d.LowId == customer || d.HighId == customer);
        }

        if (WeightCursor.Read(request) is { } last)
        {
            var (weight, key) = last;
            duplicates = duplicates.Where(d => d.Weight < weight || (d.Weight == weight && d.Id < key));
        }

        var found = await duplicates.OrderByDescending(d => d.Weight).ThenByDescending(d => d.Id).Take(limit + 1).ToListAsync(ct);
        var more = found.Count > limit;
        var page = await ViewAsync(db, found.Take(limit).ToList(), ct);
        return new(page, more, more ? WeightCursor.Write(found[limit - 1].Weight, found[limit - 1].Id) : null);
    }

    public static async Task<Ok<DuplicateView>> Read(string id, ContactsDb db, CancellationToken ct) => TypedResults.Ok(await ViewAsync(db, await FindAsync(db, id, ct), ct));

    /// <summary>They are two customers: they are never asked about again.</summary>
    public static Task<Ok<DuplicateView>> Reject(string id, Rejection body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct) =>
        DecideAsync(id, duplicate => duplicate.Reject(body.Reason, http.User.Subject(), clock.GetUtcNow()), db, ct);

    /// <summary>Never asked about again, although nobody knows; it can still be accepted or rejected.</summary>
    public static Task<Ok<DuplicateView>> Ignore(string id, Dismissal body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct) =>
        DecideAsync(id, duplicate => duplicate.Ignore(body.Reason, http.User.Subject(), clock.GetUtcNow()), db, ct);

    /// <summary>They are one customer: 202 with the merge or the change request, as of <c>POST /v1/merges</c>; again, the same.</summary>
    public static async Task<IResult> Accept(string id, Acceptance body, HttpContext http, ContactsDb db, MergeDuplicate merges, CancellationToken ct) =>
        await merges.AcceptAsync(await FindAsync(db, id, ct), body, http, ct);

    private static async Task<Ok<DuplicateView>> DecideAsync(string id, Func<Duplicate, bool> decide, ContactsDb db, CancellationToken ct)
    {
        var seen = await FindAsync(db, id, ct);
        await RequireOneOfTwoAsync(db, seen, ct);
        var key = seen.Id;
        var decided = await db.InTransactionAsync(async () =>
        {
            var duplicate = await db.LockDuplicateAsync(key, ct);
            if (decide(duplicate))
            {
                db.AuditRow(Duplicate.RecordType, duplicate.Id, null, duplicate);
                await db.SaveChangesAsync(ct);
            }

            return duplicate;
        }, ct);
        return TypedResults.Ok(await ViewAsync(db, decided, ct));
    }

    /// <exception cref="ProblemException">403 <c>department_forbidden</c>.</exception>
    private static async Task RequireOneOfTwoAsync(ContactsDb db, Duplicate duplicate, CancellationToken ct)
    {
        // Decided pairs may name those who were merged since.
        Guid[] roots = [await db.RootOfAsync(duplicate.LowId, ct) ?? duplicate.LowId, await db.RootOfAsync(duplicate.HighId, ct) ?? duplicate.HighId];
        var owned = await db.Customers.AsNoTracking().Where(c => roots.Contains(c.Id)).OrderBy(c => c.Id).ToListAsync(ct);
        foreach (var customer in owned.SkipLast(1))
        {
            if (await db.MayChangeAsync(customer, null, ct))
            {
                return;
            }
        }

        await db.RequireDepartmentAsync(owned.LastOrDefault() ?? throw ProblemException.NotFound("duplicate"), ct);
    }

    /// <summary>The row as it is now, nobody else's until the transaction ends.</summary>
    public static async Task<Duplicate> LockDuplicateAsync(this ContactsDb db, Guid id, CancellationToken ct) =>
        (await db.Duplicates.ForUpdate($"id = {id}").ToListAsync(ct)).SingleOrDefault() ?? throw ProblemException.NotFound("duplicate");

    /// <summary>In a merge's transaction, after it was saved: undecided pairs whose two are one customer by it are decided. Save afterwards.</summary>
    public static async Task DecidePairsAsync(this ContactsDb db, Merge merge, DateTimeOffset now, CancellationToken ct)
    {
        var all = await db.Database.SqlQuery<Guid>($"SELECT id AS \"Value\" FROM customers_below(ARRAY[{merge.SurvivorId}]) AS id").ToArrayAsync(ct);
        foreach (var pair in await db.Duplicates.ForUpdate($"status IN ('open', 'ignored') AND low_id = ANY ({all}) AND high_id = ANY ({all}) ORDER BY id").ToListAsync(ct))
        {
            pair.Merge(merge.Id, merge.Reason, merge.Actor, now);
            db.AuditRow(Duplicate.RecordType, pair.Id, null, pair);
        }
    }

    /// <summary>In the transaction of a merge's undo. Save afterwards.</summary>
    public static async Task TakePairsApartAsync(this ContactsDb db, Merge merge, string reason, string actor, DateTimeOffset now, CancellationToken ct)
    {
        foreach (var pair in await db.Duplicates.ForUpdate($"merge_id = {merge.Id} ORDER BY id").ToListAsync(ct))
        {
            pair.TakeApart(reason, actor, now);
            db.AuditRow(Duplicate.RecordType, pair.Id, null, pair);
        }
    }

    /// <summary>Those of which the caller sees both: a pair says in what they agree.</summary>
    private static IQueryable<Duplicate> SeenDuplicates(this ContactsDb db) => CallerRights.Current.AllCustomers
        ? db.Duplicates.AsNoTracking()
        : db.Duplicates.AsNoTracking().Where(d => db.Customers.Any(c => c.Id == d.LowId) && db.Customers.Any(c => c.Id == d.HighId));

    private static async Task<Duplicate> FindAsync(ContactsDb db, string id, CancellationToken ct) =>
        Ids.Duplicate.TryParse(id, out var key) && await db.SeenDuplicates().FirstOrDefaultAsync(d => d.Id == key, ct) is { } duplicate
            ? duplicate
            : throw ProblemException.NotFound("duplicate");

    private static async Task<DuplicateView> ViewAsync(ContactsDb db, Duplicate duplicate, CancellationToken ct) => (await ViewAsync(db, [duplicate], ct))[0];

    private static async Task<List<DuplicateView>> ViewAsync(ContactsDb db, List<Duplicate> duplicates, CancellationToken ct)
    {
        var ids = duplicates.SelectMany(d => (Guid[])[d.LowId, d.HighId]).Distinct().ToArray();
        var names = await db.Customers.Where(c => ids.Contains(c.Id)).Select(c => new { c.Id, c.DisplayName }).ToDictionaryAsync(c => c.Id, c => c.DisplayName, ct);
        return duplicates.ConvertAll(d => new DuplicateView(
            Ids.Duplicate.Format(d.Id), d.Status, Math.Round(d.Probability, 6), Math.Round(d.Weight, 2), [Member(d.LowId), Member(d.HighId)], d.Fields,
            d.FoundAt, d.DecidedAt, d.DecidedBy, d.Reason, Ids.Merge.Format(d.MergeId)));

        MemberView Member(Guid id) => new(Ids.Customer.Format(id), names[id]);
    }
}

using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ModelBinding;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.RecycleBin;

/// <summary>
/// Puts a customer into the recycle bin, with all who were merged into it; needs <c>If-Match</c>. From then on it answers
/// 410 <c>customer_deleted</c> under every id, is in no list, search, segment or campaign, and keeps everything until it is
/// restored, or erased after <c>RecycleBin:RetentionDays</c>. 409 <c>merge_running</c> until its merges are completed. 202
/// with a change request when it belongs to another department that approves such changes.
/// </summary>
internal static class DeleteCustomer
{
    public sealed record Request
    {
        [Line(500)]
        public string? Reason { get; init; }
    }

    public static async Task<IResult> Handle(
        string id, [FromBody(EmptyBodyBehavior = EmptyBodyBehavior.Allow)] Request? body, HttpContext http, ContactsDb db, IOptions<RecycleBinOptions> options, TimeProvider clock, CancellationToken ct)
    {
        var key = await db.FindAtPathAsync(id, http, ct);
        return await RunAsync(key, body, version => ETags.RequireMatch(http, version), http, db, options.Value, clock, ct);
    }

    /// <param name="requireVersion">That the record is as the caller knows it.</param>
    public static Task<IResult> RunAsync(
        Guid key, Request? body, Action<long> requireVersion, HttpContext http, ContactsDb db, RecycleBinOptions options, TimeProvider clock, CancellationToken ct) =>
        db.InTransactionAsync(async () =>
        {
            var all = await db.LockWithAbsorbedAsync(key, ct);
            var customer = await db.Whole().FirstAsync(c => c.Id == key, ct);
            customer.OutOfBin();
            requireVersion(customer.Version);
            var mustAsk = await db.MustAskAsync(customer, ct);
            await RequireNoRunningMergeAsync([.. all.Keys], db, ct);
            var now = clock.GetUtcNow();
            if (mustAsk)
            {
                return await db.AskAsync(http, customer, new(
                    ChangeOperation.DeleteCustomer, JsonSerializer.SerializeToNode(body ?? new(), JsonDefaults.Options)!.AsObject(),
                    new() { ["versions"] = new JsonObject { [Ids.Customer.Format(key)] = customer.Version } }, Concerned: [.. all.Keys]), now, ct);
            }

            customer.Delete(now);
            var binned = BinnedCustomer.Of(customer, body?.Reason, http.User.Subject(), options.RetentionDays, now);
            db.RecycleBin.Add(binned);
            db.Audit("deleted", Customer.RecordType, key, key, []);
            db.AuditRow(BinnedCustomer.RecordType, key, key, binned);
            db.Publish(customer, new CustomerUpdated(customer.Snapshot(), ["state"]));
            try
            {
                await db.SaveChangesAsync(ct);
            }
            catch (DbUpdateConcurrencyException)
            {
                throw new ProblemException(ProblemCodes.StaleVersion, "The record was changed meanwhile; read it again.");
            }

            return (IResult)TypedResults.NoContent();
        }, ct);

    /// <summary>While services still move rows of a merge or its undo, nobody could say what comes back.</summary>
    private static async Task RequireNoRunningMergeAsync(Guid[] customers, ContactsDb db, CancellationToken ct)
    {
        var running = await db.Database.SqlQuery<Guid?>($"""
            SELECT id AS "Value" FROM merges WHERE status IN ('running', 'undoing') AND (survivor_id = ANY ({customers}) OR absorbed_ids && {customers}) LIMIT 1
            """).SingleOrDefaultAsync(ct);
        if (running is { } merge)
        {
            throw new ProblemException(ProblemCodes.MergeRunning, $"{Ids.Merge.Format(merge)} is not completed; try again when it is.")
            {
                RetryAfter = 1,
                Extensions = new Dictionary<string, object?> { ["merge_id"] = Ids.Merge.Format(merge) },
            };
        }
    }
}

using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contracts.Events;
using Crm.Hosting;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Tags;

/// <summary>
/// Brings renamed and removed tags to all customers, some at a time, and goes on where it was broken off: a customer who has
/// the old name is not done yet. Any number of replicas may run: a lock that ends with the transaction says who works. It
/// goes no faster than the events leave, so that nobody's change waits behind it.
/// </summary>
internal sealed partial class RetagCustomers(IServiceScopeFactory scopes, TimeProvider clock, ILogger<RetagCustomers> logger) : RepeatedWork(TimeSpan.FromSeconds(1), clock, logger)
{
    private const int Batch = 250;

    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(50);

    private enum Step
    {
        Nothing,
        Wait,
        Done,
    }

    protected override async Task RunAsync(CancellationToken ct)
    {
        while (await StepAsync(ct) is var step and not Step.Nothing)
        {
            if (step == Step.Wait)
            {
                await Task.Delay(Look, Clock, ct);
            }
        }
    }

    private async Task<Step> StepAsync(CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<ContactsDb>();
        if (!await db.TagChanges.AnyAsync(ct))
        {
            return Step.Nothing;
        }

        if (await db.Database.SqlQuery<int>($"SELECT count(*)::int AS \"Value\" FROM (SELECT FROM outbox WHERE next_at <= now() LIMIT {Batch}) AS waiting").SingleAsync(ct) == Batch)
        {
            return Step.Wait;
        }

        return await db.InTransactionAsync(async () =>
        {
            if (!await db.Database.SqlQuery<bool>($"SELECT pg_try_advisory_xact_lock(hashtextextended('tag changes', 0)) AS \"Value\"").SingleAsync(ct)
                || await db.TagChanges.OrderBy(c => c.Id).FirstOrDefaultAsync(ct) is not { } change)
            {
                return Step.Nothing;
            }

            if (await FindAsync(db, change, ct) is { Length: > 0 } ids)
            {
                await RetagAsync(db, change, ids, ct);
                return Step.Done;
            }

            // Whoever gives the old name to a customer at this moment is waited for, and then looked for once more.
            await db.Database.ExecuteSqlAsync($"SELECT FROM tag_changes WHERE id = {change.Id} FOR UPDATE", ct);
            if (await FindAsync(db, change, ct) is [])
            {
                db.TagChanges.Remove(change);
                await db.SaveChangesAsync(ct);
                LogDone();
            }

            return Step.Done;
        }, ct);
    }

    /// <summary>Some of those who have the old name, or would have it again when a merge of theirs is undone.</summary>
    private static Task<Guid[]> FindAsync(ContactsDb db, TagChange change, CancellationToken ct) => db.Database.SqlQuery<Guid>($"""
        (SELECT id AS "Value" FROM customers WHERE cardinality(tags) > 0 AND tags @> ARRAY[{change.From}] LIMIT {Batch})
        UNION
        (SELECT id FROM customers WHERE layers IS NOT NULL AND (
            layers #> ARRAY['base', 'tags'] @> to_jsonb({change.From}::text)
            OR jsonb_path_exists(layers, '$.changes[*].edit.lists.tags.removed[*] ? (@ == $tag)', jsonb_build_object('tag', {change.From}::text))
            OR jsonb_path_exists(layers, '$.changes[*].edit.lists.tags.put.* ? (@ == $tag)', jsonb_build_object('tag', {change.From}::text)))
         LIMIT {Batch})
        LIMIT {Batch}
        """).ToArrayAsync(ct);

    private async Task RetagAsync(ContactsDb db, TagChange change, Guid[] ids, CancellationToken ct)
    {
        var now = Clock.GetUtcNow();
        var customers = await db.Customers.ForUpdate($"id = ANY ({ids}) ORDER BY id").ToListAsync(ct);
        var (changed, audit) = (new List<Customer>(), new List<(string, string, Guid, Guid?, JsonObject)>());
        foreach (var customer in customers)
        {
            var before = customer.Tags;
            if (customer.Retag(change.From, change.To, now))
            {
                changed.Add(customer);
                audit.Add(("updated", Customer.RecordType, customer.Id, customer.Id, AuditChanges.Between(new { Tags = before }, new { customer.Tags })));
            }
        }

        await db.PublishAsync(changed.Select(c => ((IAggregate)c, (object)new CustomerUpdated(c.Snapshot(), [Domain.Merges.FieldJson.Tags]))), ct);
        await db.AuditAsync(change.Actor, audit, ct);
        await db.SaveChangesAsync(ct);
    }

    [LoggerMessage(LogLevel.Information, "All customers have a tag as it was changed")]
    private partial void LogDone();
}

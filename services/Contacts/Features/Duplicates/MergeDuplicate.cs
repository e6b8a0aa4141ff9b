using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Duplicates;
using Crm.Contacts.Features.Merges;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>Merges the two of a pair by the way of every merge, preview and blockers included, and decides the pair in the merge's transaction.</summary>
internal sealed class MergeDuplicate(ContactsDb db, MergeImpact impact, Validation validation, IOptions<MergeOptions> options, TimeProvider clock)
{
    /// <returns>The merge; of a pair that was merged before, that one.</returns>
    /// <exception cref="ProblemException">409 when the pair was rejected or one of the two is no longer there; and what a merge can answer.</exception>
    public async Task<Guid> RunAsync(Duplicate duplicate, ReviewDuplicates.Acceptance acceptance, string actor, CancellationToken ct)
    {
        if (duplicate.MergeId is { } done)
        {
            return done;
        }

        if (duplicate.Status == DuplicateStatus.Rejected)
        {
            throw new RuleViolationException("The pair was rejected; merge the two by POST /v1/merges when that was wrong.");
        }

        var customers = await db.Customers.AsNoTracking().Where(c => (c.Id == duplicate.LowId || c.Id == duplicate.HighId) && c.State == CustomerState.Active)
            .OrderBy(c => c.CreatedAt).ThenBy(c => c.Id).Select(c => c.Id).ToListAsync(ct);
        var survivor = acceptance.SurvivorId is null ? customers.FirstOrDefault()
            : Ids.Customer.TryParse(acceptance.SurvivorId, out var named) && customers.Contains(named) ? named
            : throw ProblemException.Invalid(new FieldError("/survivor_id", "not_a_member", "One of the two customers."));
        if (customers.Count < 2)
        {
            return await MergedMeanwhileAsync(duplicate.Id, ct) ?? throw new RuleViolationException("One of the two was merged or removed meanwhile.");
        }

        var reason = acceptance.Reason ?? "Accepted as a duplicate";
        var preview = (await PreviewMerge.Handle(
            new() { CustomerIds = customers.ConvertAll(id => Ids.Customer.Format(id)), SurvivorId = Ids.Customer.Format(survivor), Choices = acceptance.Choices },
            db, impact, validation, options, clock, ct)).Value!;
        try
        {
            return await MergeCustomers.RunAsync(PreviewMerge.HashOf(preview.Token), reason, actor, db, impact, options.Value, clock, DecideAsync, ct);
        }
        catch (ProblemException problem) when (problem.Code == ProblemCodes.PreviewOutdated)
        {
            if (await MergedMeanwhileAsync(duplicate.Id, ct) is { } meanwhile)
            {
                return meanwhile;
            }

            throw;
        }

        async Task DecideAsync(Guid merge)
        {
            var row = await db.LockDuplicateAsync(duplicate.Id, ct);
            row.Merge(merge, reason, actor, clock.GetUtcNow());
            db.AuditRow(Duplicate.RecordType, row.Id, null, row);
            await db.SaveChangesAsync(ct);
        }
    }

    /// <summary>By another request that was a moment earlier.</summary>
    private Task<Guid?> MergedMeanwhileAsync(Guid id, CancellationToken ct) => db.Duplicates.AsNoTracking().Where(d => d.Id == id).Select(d => d.MergeId).FirstOrDefaultAsync(ct);
}

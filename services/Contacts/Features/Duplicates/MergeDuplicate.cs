using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Duplicates;
using Crm.Contacts.Features.Merges;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>Merges the two of a pair by the way of every merge, preview and blockers included, which decides the pair.</summary>
internal sealed class MergeDuplicate(ContactsDb db, MergeImpact impact, Validation validation, IOptions<MergeOptions> options, TimeProvider clock)
{
    /// <param name="confirm">Looks at the two once more; a change after it outdates the preview, and nothing is merged.</param>
    /// <returns>The merge; of a pair that was merged before, that one.</returns>
    /// <exception cref="ProblemException">409 when the pair was rejected or one of the two is no longer there; and what a merge can answer.</exception>
    public async Task<Guid> RunAsync(Duplicate duplicate, ReviewDuplicates.Acceptance acceptance, string actor, Func<Task> confirm, CancellationToken ct) =>
        (await RunAsync(duplicate, acceptance, actor, async (_, _) =>
        {
            await confirm();
            return null;
        }, ct)).Merge;

    /// <summary>202 with the merge, or with the change request when other departments have to be asked.</summary>
    /// <inheritdoc cref="RunAsync(Duplicate, ReviewDuplicates.Acceptance, string, Func{Task}, CancellationToken)"/>
    public async Task<IResult> AcceptAsync(Duplicate duplicate, ReviewDuplicates.Acceptance acceptance, HttpContext http, CancellationToken ct)
    {
        var (merge, asked) = await RunAsync(
            duplicate, acceptance, http.User.Subject(), (hash, reason) => MergeCustomers.AskAsync(hash, reason, duplicate.Id, http, db, impact, clock, ct), ct);
        if (asked is not null)
        {
            return asked;
        }

        var view = await db.FindMergeAsync(merge, options.Value, clock, ct);
        return TypedResults.Accepted($"/v1/merges/{view.Id}", view);
    }

    /// <summary>In the merge's transaction: the merge has decided the pair.</summary>
    /// <exception cref="RuleViolationException">Something else did, a moment earlier.</exception>
    public async Task RequireDecidedAsync(Guid duplicate, Guid merge, CancellationToken ct)
    {
        if ((await db.LockDuplicateAsync(duplicate, ct)).MergeId != merge)
        {
            throw new RuleViolationException("This was decided before.");
        }
    }

    /// <param name="ask">Of the preview's hash and the reason: what is answered instead of a merge, if anything.</param>
    private async Task<(Guid Merge, IResult? Asked)> RunAsync(
        Duplicate duplicate, ReviewDuplicates.Acceptance acceptance, string actor, Func<byte[], string, Task<IResult?>> ask, CancellationToken ct)
    {
        if (duplicate.MergeId is { } done)
        {
            return (done, null);
        }

        if (duplicate.Status == DuplicateStatus.Rejected)
        {
            throw new RuleViolationException("The pair was rejected; merge the two by POST /v1/merges when that was wrong.");
        }

        var customers = await db.Customers.AsNoTracking().Where(c => (c.Id == duplicate.LowId || c.Id == duplicate.HighId) && c.State == CustomerState.Active)
            .OrderBy(c => c.CreatedAt).ThenBy(c => c.Id).Select(c => c.Id).ToListAsync(ct);
        var survivor = acceptance.SurvivorId is null ? customers.FirstOrDefault()
            : Ids.Customer.TryParse(acceptance.SurvivorId, out var named) && await db.RootOfAsync(named, ct) is { } root && customers.Contains(root) ? root
            : throw ProblemException.Invalid(new FieldError("/survivor_id", "not_a_member", "One of the two customers."));
        if (customers.Count < 2)
        {
            return (await MergedMeanwhileAsync(duplicate.Id, ct) ?? throw new RuleViolationException("One of the two was merged or removed meanwhile."), null);
        }

        var reason = acceptance.Reason ?? "Accepted as a duplicate";
        try
        {
            var preview = (await PreviewMerge.Handle(
                new() { CustomerIds = customers.ConvertAll(id => Ids.Customer.Format(id)), SurvivorId = Ids.Customer.Format(survivor), Choices = acceptance.Choices },
                db, impact, validation, options, clock, ct)).Value!;
            var hash = PreviewMerge.HashOf(preview.Token);
            return await ask(hash, reason) is { } asked ? (default, asked)
                : (await MergeCustomers.RunAsync(hash, reason, actor, db, impact, options.Value, clock, merge => RequireDecidedAsync(duplicate.Id, merge, ct), ct), null);
        }
        catch (ProblemException problem) when (problem.Code == ProblemCodes.PreviewOutdated)
        {
            if (await MergedMeanwhileAsync(duplicate.Id, ct) is { } meanwhile)
            {
                return (meanwhile, null);
            }

            throw;
        }
    }

    /// <summary>By another request that was a moment earlier.</summary>
    private Task<Guid?> MergedMeanwhileAsync(Guid id, CancellationToken ct) => db.Duplicates.AsNoTracking().Where(d => d.Id == id).Select(d => d.MergeId).FirstOrDefaultAsync(ct);
}

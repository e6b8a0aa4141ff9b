using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
using Crm.Support.Domain;

namespace Crm.Support.Features;

/// <summary>What all changes of a case share.</summary>
internal static class CaseWrites
{
    /// <summary>
    /// Changes one case under its lock, so that concurrent replies are all kept and none is undone by a
    /// concurrent solve. What the rule lets happen is saved with its event; a rule that answers false
    /// changed nothing.
    /// </summary>
    /// <exception cref="ProblemException">404.</exception>
    public static async Task<Case> ChangeAsync(this SupportDb db, string id, Func<Case, Task<bool>> rule, CancellationToken ct)
    {
        if (!Ids.Case.TryParse(id, out var key))
        {
            throw ProblemException.NotFound("case");
        }

        return await db.InTransactionAsync(async () =>
        {
            var it = await db.LockCaseAsync(key, ct) ?? throw ProblemException.NotFound("case");
            if (await rule(it))
            {
                await db.SaveAsync(it, ct);
            }

            return it;
        }, ct);
    }

    /// <inheritdoc cref="ChangeAsync(SupportDb, string, Func{Case, Task{bool}}, CancellationToken)"/>
    public static Task<Case> ChangeAsync(this SupportDb db, string id, Func<Case, bool> rule, CancellationToken ct) =>
        db.ChangeAsync(id, it => Task.FromResult(rule(it)), ct);

    public static async Task SaveAsync(this SupportDb db, Case it, CancellationToken ct)
    {
        db.AuditRow("case", it);
        db.Publish(it, it.Changed());
        await db.SaveChangesAsync(ct);
    }

    public static Happening Now(this HttpContext http, TimeProvider clock) => new(http.User.Subject(), clock.GetUtcNow());

    /// <summary>200 with the case and its tag.</summary>
    public static Microsoft.AspNetCore.Http.HttpResults.Ok<CaseView> Answer(this HttpContext http, Case it)
    {
        http.Response.Headers.ETag = ETags.Of(it.Version);
        return TypedResults.Ok(CaseView.Of(it));
    }
}

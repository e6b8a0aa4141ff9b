using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Grants;

/// <summary>
/// Lets another department read, or change without approval, what the own one owns: one customer, the fields of one group
/// in all its records, or all of them. Only somebody of the owning department makes one, or somebody bound to none. 409
/// <c>already_exists</c> when the same holds already.
/// </summary>
internal static class MakeGrant
{
    public static async Task<Created<GrantView>> Handle(GrantInput body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        RequireOwner(body.OwnerDepartment!);
        RequireReach(body);
        var now = clock.GetUtcNow();
        var made = await db.InTransactionAsync(async () =>
        {
            var customer = body.CustomerId is null ? null : (Guid?)await FindCustomerAsync(body, db, ct);
            await db.LockAsync([$"grants {body.OwnerDepartment} {body.GranteeDepartment}"], ct);
            var present = await db.Grants.FirstOrDefaultAsync(
                g => g.OwnerDepartment == body.OwnerDepartment && g.GranteeDepartment == body.GranteeDepartment && g.Access == body.Access
                    && g.CustomerId == customer && g.FieldGroup == body.FieldGroup && g.EndedAt == null, ct);
            if (present?.StatusAt(now) == GrantStatus.Active)
            {
                throw new ProblemException(ProblemCodes.AlreadyExists, "The same is granted already; revoke that first.", new FieldError("", "already_exists"))
                {
                    Extensions = new Dictionary<string, object?> { ["existing_id"] = Ids.Grant.Format(present.Id) },
                };
            }

            if (present is not null)
            {
                present.GiveWay();
                db.Publish(present, present.Changed());
                // Of two with one key the first must be out of the index.
                await db.SaveChangesAsync(ct);
            }

            var grant = Grant.Make(body, customer, db.Actor(), now);
            db.Grants.Add(grant);
            db.AuditRow(Grant.RecordType, grant.Id, customer, grant);
            db.Publish(grant, grant.Changed());
            await db.SaveChangesAsync(ct);
            return grant;
        }, ct);
        var view = GrantView.Of(made, now);
        return TypedResults.Created($"/v1/grants/{view.Id}", view);
    }

    /// <exception cref="ProblemException">403 <c>department_forbidden</c>.</exception>
    public static void RequireOwner(string owner)
    {
        if (CallerRights.Current.Departments is { Count: > 0 } own && !own.Contains(owner, StringComparer.Ordinal))
        {
            throw new ProblemException(
                ProblemCodes.DepartmentForbidden, $"Only the department {owner} grants its records.", new FieldError("/owner_department", ProblemCodes.DepartmentForbidden.Code));
        }
    }

    /// <summary>Nobody gives away more than the own roles reach.</summary>
    private static void RequireReach(GrantInput body)
    {
        var rights = CallerRights.Current;
        IEnumerable<string> groups = body.FieldGroup is { } one ? [one] : FieldGroups.All;
        if (groups.FirstOrDefault(g => body.Access == GrantAccess.Write ? !rights.MayWrite(g) : rights.Read(g) != FieldAccess.Allow) is { } beyond)
        {
            throw FieldRules.Forbidden("/field_group", beyond);
        }
    }

    /// <summary>The customer, which is the owner's and stays it until the transaction ends.</summary>
    private static async Task<Guid> FindCustomerAsync(GrantInput body, ContactsDb db, CancellationToken ct)
    {
        var id = await db.HoldRootAsync(Ids.Customer.Parse(body.CustomerId!), ct);
        await db.Database.ExecuteSqlAsync($"SELECT FROM customers WHERE id = {id} FOR SHARE", ct);
        var customer = await db.Customers.AsNoTracking().FirstOrDefaultAsync(c => c.Id == id && c.State == CustomerState.Active, ct)
            ?? throw new ProblemException(ProblemCodes.UnknownCustomer, "There is no such customer.", new FieldError("/customer_id", "unknown_customer"));
        return customer.Department == body.OwnerDepartment
            ? id
            : throw new ProblemException(ProblemCodes.Unprocessable, "The customer does not belong to this department.", new FieldError("/customer_id", "other_department"));
    }
}

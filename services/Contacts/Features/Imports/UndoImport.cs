using Crm.Contacts.Domain.Imports;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// Takes an import back: customers that it created are removed, those that it updated get their fields as they were
/// before. One that was changed since is left as it is and listed, as is one that it created and that got consents, orders,
/// relationships, an account manager, grants or a legal hold since, or of which another service has anything: interactions,
/// cases, invoices, payments, billing accounts, messages. It waits for services that are away. 409 for a dry run and before the end.
/// </summary>
internal static class UndoImport
{
    public static async Task<Accepted<ImportView>> Handle(string id, HttpContext http, ContactsDb db, ImportSignal signal, TimeProvider clock, CancellationToken ct)
    {
        CallerRights.Current.RequireWrite(FieldGroups.All);
        OwnershipRules.RequireAllDepartments();
        var key = (await db.FindImportAsync(id, ct)).Id;
        var import = await db.InTransactionAsync(async () =>
        {
            var found = (await db.Imports.ForUpdate($"id = {key}").ToListAsync(ct)).Single();
            if (found.AskUndo(http.User.Subject(), clock.GetUtcNow()))
            {
                db.AuditRow(Import.RecordType, found.Id, null, found);
                await db.SaveChangesAsync(ct);
            }

            return found;
        }, ct);
        signal.Raise();
        return TypedResults.Accepted($"/v1/imports/{id}", ImportView.Of(import));
    }
}

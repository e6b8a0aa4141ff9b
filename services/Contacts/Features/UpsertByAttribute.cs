using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.Duplicates;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

namespace Crm.Contacts.Features;

/// <summary>
/// Creates or changes the customer who has the body's value of the unique field <c>name</c>: members of the body are set, null clears,
/// absent ones stay. The value stands in <c>attributes</c> of the body, since addresses are logged. That of an absorbed customer
/// leads to the survivor, who keeps its own. Never answers <c>duplicate_suspected</c>. 409 <c>value_taken</c> names the customer in
/// the recycle bin who has the value.
/// 202 with a change request when the record belongs to another department that approves such changes.
/// </summary>
internal static class UpsertByAttribute
{
    public static async Task<IResult> Handle(HttpContext http, ContactsDb db, Validation validation, DuplicateCheck duplicates, TimeProvider clock, CancellationToken ct)
    {
        var name = http.Request.Query["name"].ToString();
        var body = await MergePatch.ReadAsync(http.Request, ct);
        var result = await db.InTransactionAsync(async () =>
        {
            var field = await FindAsync(name, db, ct);
            var value = ValueOf(field, body);
            // Of two upserts of one new value the second finds what the first has made.
            await db.LockAsync([$"attribute {name} {value}"], ct);
            var existing = await db.FindByValueAsync(field, value, ct);
            if (existing is null && await db.FindSurvivorAsync(field, value, ct) is { } survivor)
            {
                existing = survivor;
                body["attributes"]!.AsObject().Remove(field.Name);
            }

            return existing is { State: CustomerState.Deleted }
                ? throw UniqueValues.ValueTaken(field, existing)
                : await UpsertCustomer.SaveAsync(existing, MergePatch.Apply(existing?.ToInput() ?? new CustomerInput(), body), http, db, validation, clock, ct);
        }, ct);
        await UpsertCustomer.QueueTwinsAsync(result, db, duplicates, ct);
        return result;
    }

    private static async Task<CustomField> FindAsync(string name, ContactsDb db, CancellationToken ct)
    {
        if ((await db.HoldFieldsAsync(ct)).Unique.FirstOrDefault(f => f.Name == name) is not { } field)
        {
            throw ProblemException.InvalidParameter("name", "No unique field has this name.");
        }

        foreach (var group in (string[])[FieldGroups.CustomFields, field.FieldGroup])
        {
            if (!CallerRights.Current.MayWrite(group))
            {
                throw FieldRules.Forbidden(FieldCatalog.Pointer(name), group);
            }
        }

        return field.UniqueState == FieldIndexState.Ready ? field : throw ProblemException.InvalidParameter("name", "The index of the field is not ready yet.");
    }

    private static string ValueOf(CustomField field, JsonObject body)
    {
        var value = (body["attributes"] as JsonObject)?[field.Name] ?? throw ProblemException.Invalid(new FieldError(FieldCatalog.Pointer(field.Name), "required", "The customer is found by it."));
        return field.KeyOf(JsonSerializer.SerializeToElement(value)) ?? throw ProblemException.Invalid(new FieldError(FieldCatalog.Pointer(field.Name), "wrong_type", field.Expected()));
    }
}

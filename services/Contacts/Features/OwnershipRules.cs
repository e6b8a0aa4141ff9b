using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

namespace Crm.Contacts.Features;

/// <summary>Whose a record is: the department that owns it, and the rows that a caller is held to.</summary>
internal static class OwnershipRules
{
    /// <summary>Who belongs to departments changes their records, those of departments that grant it, and those of none.</summary>
    /// <exception cref="ProblemException">403 <c>department_forbidden</c>.</exception>
    public static void RequireDepartment(Customer customer)
    {
        if (customer.Department is { } owner && !CallerRights.Current.MayWriteOf(owner))
        {
            throw new ProblemException(ProblemCodes.DepartmentForbidden, $"The record belongs to the department {owner}.", new FieldError("/department", ProblemCodes.DepartmentForbidden.Code));
        }
    }

    /// <summary>Whether the caller does not change the record, but may ask the department that owns it to.</summary>
    public static bool NeedsApproval(Customer customer) => customer.Department is { } owner && CallerRights.Current.MayAskFor(owner);

    /// <summary>For work on many records, whoever owns them.</summary>
    /// <exception cref="ProblemException">403 <c>department_forbidden</c>.</exception>
    public static void RequireAllDepartments()
    {
        if (CallerRights.Current.Departments.Count > 0)
        {
            throw new ProblemException(ProblemCodes.DepartmentForbidden, "This may change records of any department; it takes somebody who is bound to none.");
        }
    }

    /// <summary>What a caller with a row filter writes stays among the rows that it sees.</summary>
    /// <exception cref="ProblemException">403 <c>field_forbidden</c> when it asks for something else.</exception>
    public static CustomerInput InRows(this CustomerInput input) => CallerRights.Current.Rows switch
    {
        null => input,
        { Departments: [var first, ..] departments } => input.Department is null ? input with { Department = first }
            : departments.Contains(input.Department) ? input
            : throw Outside("/department"),
        { Attribute: { } name, Value: { } value } => input.Attributes?.TryGetValue(name, out var given) is true
            ? given.ValueKind == JsonValueKind.String && given.GetString() == value ? input : throw Outside($"/attributes/{name}")
            : input with { Attributes = new(input.Attributes ?? [], StringComparer.Ordinal) { [name] = JsonSerializer.SerializeToElement(value) } },
        _ => throw Outside(""),
    };

    private static ProblemException Outside(string pointer) =>
        new(ProblemCodes.FieldForbidden, "The caller would not see the record any more.", new FieldError(pointer, ProblemCodes.FieldForbidden.Code));
}

using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Merges;
using Crm.Contacts.Features.CustomFields;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>Whose a record is: the department that owns it, and the rows that a caller is held to.</summary>
internal static class OwnershipRules
{
    /// <summary>Who belongs to departments changes their records, those of departments that grant it, those that are granted one by one, and those of none.</summary>
    /// <param name="groups">The field groups that are changed; null stands for what has no group. When left out, it takes the right to the whole record.</param>
    /// <exception cref="ProblemException">403 <c>department_forbidden</c>.</exception>
    public static async Task RequireDepartmentAsync(this ContactsDb db, Customer customer, CancellationToken ct, IReadOnlyCollection<string?>? groups = null)
    {
        if (!await db.MayChangeAsync(customer, groups, ct))
        {
            throw new ProblemException(
                ProblemCodes.DepartmentForbidden, $"The record belongs to the department {customer.Department}.", new FieldError("/department", ProblemCodes.DepartmentForbidden.Code));
        }
    }

    /// <summary>Whether the caller does not change the record, but may ask the department that owns it to.</summary>
    /// <inheritdoc cref="RequireDepartmentAsync"/>
    public static async Task<bool> NeedsApprovalAsync(this ContactsDb db, Customer customer, CancellationToken ct, IReadOnlyCollection<string?>? groups = null) =>
        customer.Department is { } owner && CallerRights.Current.IsApprovedBy(owner) && !await db.MayChangeAsync(customer, groups, ct);

    /// <summary>The field groups in which two states differ, for <see cref="RequireDepartmentAsync"/>.</summary>
    public static async Task<IReadOnlyCollection<string?>> ChangedGroupsAsync(this ContactsDb db, CustomerInput before, CustomerInput after, CancellationToken ct)
    {
        var changed = CustomerInput.Differences(before, after);
        var groups = changed.Select(FieldRules.GroupOf<CustomerInput>).ToHashSet(StringComparer.Ordinal);
        if (changed.Contains(FieldJson.Attributes))
        {
            var own = await db.ReadAttributeGroupsAsync(ct);
            var (was, becomes) = (before.Attributes ?? [], after.Attributes ?? []);
            groups.UnionWith(was.Keys.Union(becomes.Keys)
                .Where(a => own.ContainsKey(a) && !(was.TryGetValue(a, out var old) && becomes.TryGetValue(a, out var now) && JsonElement.DeepEquals(old, now)))
                .Select(a => own[a]));
        }

        return groups;
    }

    /// <summary>What a patch says of fields that the caller does not reach in a record of which only some field groups are granted.</summary>
    /// <param name="patch">By the names of the fields.</param>
    public static async Task<UnreachedFields> UnreachedAsync(this ContactsDb db, Customer customer, JsonObject patch, CancellationToken ct)
    {
        if ((await db.ShowAsync([customer], ct))[0].Granted is not { } granted)
        {
            return UnreachedFields.None;
        }

        var own = patch.ContainsKey(FieldJson.Attributes) ? await db.ReadAttributeGroupsAsync(ct) : [];
        var unreached = patch.Select(m => (m.Key, m.Value, Groups: GroupsOf(m.Key, m.Value).Where(g => g is not null && !granted.Contains(g)).ToList())).Where(m => m.Groups.Count > 0).ToList();
        return new(new(unreached.Select(m => KeyValuePair.Create(m.Key, m.Value?.DeepClone()))), [.. unreached.SelectMany(m => m.Groups)]);

        IEnumerable<string?> GroupsOf(string name, JsonNode? value) => value is JsonObject attributes && name == FieldJson.Attributes
            ? attributes.Select(a => own.GetValueOrDefault(a.Key)).Append(FieldGroups.CustomFields)
            : [FieldRules.GroupOf<CustomerInput>(name)];
    }

    /// <summary>Whether the caller changes the record.</summary>
    /// <inheritdoc cref="RequireDepartmentAsync"/>
    public static async Task<bool> MayChangeAsync(this ContactsDb db, Customer customer, IReadOnlyCollection<string?>? groups, CancellationToken ct)
    {
        var rights = CallerRights.Current;
        if (customer.Department is not { } owner || (groups is null ? rights.MayWriteOf(owner) : rights.MayWriteOf(owner, groups)))
        {
            return true;
        }

        var own = rights.GranteeDepartments.ToArray();
        return await db.PresentGrants().AnyAsync(g => g.CustomerId == customer.Id && g.OwnerDepartment == owner && g.Access == GrantAccess.Write && own.Contains(g.GranteeDepartment), ct);
    }

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

/// <summary>Whether they are as somebody wants them is not told to who does not see them: they are asked for in any case.</summary>
/// <param name="Groups">The field groups that are not reached.</param>
internal sealed record UnreachedFields(JsonObject Fields, IReadOnlyCollection<string?> Groups)
{
    public static readonly UnreachedFields None = new([], []);
}

using System.Text.Json;
using System.Text.Json.Serialization;

namespace Crm.Contracts;

/// <summary>How a role sees the fields of a group.</summary>
public enum FieldAccess
{
    /// <summary>The field is left out.</summary>
    Deny,

    /// <summary>Text keeps its shape and loses its content; what is not text is left out.</summary>
    Mask,
    Allow,
}

/// <summary>What callers in a role may do; what is not named is denied.</summary>
/// <param name="Scopes">The most that a caller in this role may do.</param>
/// <param name="Read">By field group.</param>
/// <param name="Write">The field groups that it may change; each of them it can also read.</param>
public sealed record Role(IReadOnlyList<string> Scopes, IReadOnlyDictionary<string, FieldAccess> Read, IReadOnlyList<string>? Write = null);

/// <summary>How a department deals with what others want of its records.</summary>
/// <param name="Approvals">A change by somebody who may not make it waits for the department's approval, instead of being refused.</param>
/// <param name="Closed">Others read its records only as far as it grants that; else everybody with the scope reads them.</param>
public sealed record DepartmentRules(bool Approvals = false, bool Closed = false);

/// <summary>Who may see and change what, as <c>policy.json</c> declares it.</summary>
/// <param name="DepartmentGrants">By department: the others that may change its records.</param>
/// <param name="RowFiltered">Operations (and RPCs as <c>/package.Service/Method</c>) that a caller with a row filter may call: they have been shown to keep to its rows.</param>
/// <param name="Departments">By department; one that is not named approves nothing.</param>
public sealed record Policy(
    IReadOnlyDictionary<string, string> FieldGroups,
    IReadOnlyDictionary<string, Role> Roles,
    IReadOnlyDictionary<string, IReadOnlyList<string>> DepartmentGrants,
    IReadOnlyList<string> RowFiltered,
    IReadOnlyDictionary<string, DepartmentRules>? Departments = null)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        ReadCommentHandling = JsonCommentHandling.Skip,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        AllowDuplicateProperties = false,
        RespectRequiredConstructorParameters = true,
        RespectNullableAnnotations = true,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false) },
    };

    /// <summary>The file, or the one that is built in when it is null.</summary>
    /// <exception cref="InvalidOperationException">It is not a policy, or it names what does not exist.</exception>
    public static Policy Load(string? file)
    {
        using var stream = file is null ? typeof(Policy).Assembly.GetManifestResourceStream("policy.json")! : File.OpenRead(file);
        Policy policy;
        try
        {
            policy = JsonSerializer.Deserialize<Policy>(stream, Json)!;
        }
        catch (JsonException exception)
        {
            throw new InvalidOperationException($"The policy cannot be read: {exception.Message}", exception);
        }

        var wrong = policy.Roles.SelectMany(r => r.Value.Wrong().Select(w => $"{r.Key}: {w}"))
            .Concat(policy.FieldGroups.Keys.Except(Contracts.FieldGroups.All, StringComparer.Ordinal).Select(g => $"there is no field group {g}")).ToList();
        return wrong.Count == 0 ? policy : throw new InvalidOperationException($"The policy is wrong: {string.Join("; ", wrong)}.");
    }

    /// <summary>Owner and department, of <see cref="DepartmentGrants"/>.</summary>
    [JsonIgnore]
    public IReadOnlySet<(string Owner, string Department)> Grants { get; } =
        DepartmentGrants.SelectMany(g => g.Value.Select(d => (g.Key, d))).ToHashSet();

    /// <summary>The departments that approve what others want to change in their records.</summary>
    [JsonIgnore]
    public IReadOnlySet<string> Approving { get; } =
        (Departments ?? new Dictionary<string, DepartmentRules>()).Where(d => d.Value.Approvals).Select(d => d.Key).ToHashSet(StringComparer.Ordinal);

    /// <summary>The departments whose records others read by grant only.</summary>
    [JsonIgnore]
    public IReadOnlySet<string> Closed { get; } =
        (Departments ?? new Dictionary<string, DepartmentRules>()).Where(d => d.Value.Closed).Select(d => d.Key).ToHashSet(StringComparer.Ordinal);

    private HashSet<string> OpenToRowFilters { get; } = RowFiltered.ToHashSet(StringComparer.Ordinal);

    /// <summary>Whether a caller with a row filter may call it.</summary>
    public bool KeepsToRows(string operation) => OpenToRowFilters.Contains(operation);

    /// <summary>The scopes that these roles bring; none when no role is known.</summary>
    public IReadOnlyCollection<string> ScopesOf(IEnumerable<string> roles) =>
        [.. roles.SelectMany(r => Roles.TryGetValue(r, out var role) ? role.Scopes : []).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];

    /// <summary>The most generous of these roles counts.</summary>
    public FieldAccess ReadOf(IEnumerable<string> roles, string group) =>
        roles.Select(r => Roles.TryGetValue(r, out var role) && role.Read.TryGetValue(group, out var access) ? access : FieldAccess.Deny).DefaultIfEmpty().Max();

    public bool MayWrite(IEnumerable<string> roles, string group) =>
        roles.Any(r => Roles.TryGetValue(r, out var role) && role.Write?.Contains(group, StringComparer.Ordinal) is true);
}

file static class RoleRules
{
    public static IEnumerable<string> Wrong(this Role role) =>
        role.Scopes.Except(Scopes.All, StringComparer.Ordinal).Select(s => $"there is no scope {s}")
            .Concat(role.Read.Keys.Concat(role.Write ?? []).Except(FieldGroups.All, StringComparer.Ordinal).Select(g => $"there is no field group {g}"))
            // Whoever could write what it cannot read would take masked values for real ones and store them.
            .Concat((role.Write ?? []).Where(g => role.Read.GetValueOrDefault(g) != FieldAccess.Allow).Select(g => $"{g} can be written but not read"));
}

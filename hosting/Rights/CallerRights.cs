using System.Security.Claims;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Crm.Hosting.Rights;

/// <summary>
/// What the policy lets a caller read and write, and whose rows. A service on its own behalf and a caller without roles
/// are not restricted in fields; who is not authenticated sees none.
/// </summary>
public sealed class CallerRights
{
    private static readonly HttpContextAccessor Accessor = new();

    /// <summary>Of work that no request asks for.</summary>
    private static readonly CallerRights Everything = new();

    private static readonly CallerRights Nothing = new() { _read = [], _write = [] };

    private Dictionary<string, FieldAccess>? _read;
    private HashSet<string>? _write;
    private IReadOnlyDictionary<string, string> _memberGroups = new Dictionary<string, string>();
    private IReadOnlySet<(string Owner, string Department)> _grants = new HashSet<(string, string)>();

    private IReadOnlySet<string> _approving = new HashSet<string>();
    private IReadOnlySet<string> _closed = new HashSet<string>();
    private IReadOnlyList<DepartmentGrant> _given = [];
    private List<string>? _unseen;
    private CallerRights? _requester;

    private CallerRights()
    {
    }

    /// <summary>Those of the caller of the request at hand.</summary>
    public static CallerRights Current => Accessor.HttpContext is { } http ? Of(http) : Everything;

    /// <summary>No field is hidden or forbidden.</summary>
    public bool AllFields => _read is null;

    /// <summary>Null: all rows.</summary>
    public RowFilter? Rows { get; private init; }

    /// <summary>The departments that the caller belongs to; who belongs to none is bound to none.</summary>
    public IReadOnlyList<string> Departments { get; private init; } = [];

    /// <summary>
    /// For reads that show of a record only the fields that the caller reaches (<see cref="GroupsOf"/>): from now on, and
    /// until the request ends, those of which a department has granted some are seen too.
    /// </summary>
    public bool SeesParts { get; private set; }

    /// <summary>The departments of which the caller does not see every record: only those granted one by one.</summary>
    public List<string> UnseenDepartments => _unseen ??= [.. _closed.Where(d => Departments.Count > 0 && !MayWriteOf(d)
        && !_given.Any(g => g.Owner == d && (SeesParts || g.FieldGroup is null)))];

    /// <summary>No customer is out of the caller's sight.</summary>
    public bool AllCustomers => Rows is null && UnseenDepartments.Count == 0;

    /// <summary>Whether the caller changes records that the department owns.</summary>
    public bool MayWriteOf(string department) => Departments.Count == 0 || Departments.Contains(department, StringComparer.Ordinal) || Departments.Any(d => _grants.Contains((department, d)))
        || _given.Any(g => g.Owner == department && g is { Write: true, FieldGroup: null }) || _requester?.MayWriteOf(department) is true;

    /// <summary>Whether the caller changes these field groups of records that the department owns; null stands for what has no group.</summary>
    public bool MayWriteOf(string department, IReadOnlyCollection<string?> groups) =>
        MayWriteOf(department) || groups.All(group => group is not null && _given.Any(g => g.Owner == department && g.Write && g.FieldGroup == group))
        || _requester?.MayWriteOf(department, groups) is true;

    /// <summary>The departments whose grants of single customers let the caller change these.</summary>
    public IReadOnlyList<string> GranteeDepartments => [.. Departments, .. _requester?.Departments ?? []];

    /// <summary>Whether the department approves what those want who do not change its records.</summary>
    public bool IsApprovedBy(string department) => _approving.Contains(department);

    /// <summary>The field groups that the caller reaches in records of the department, unless one is granted whole; null: all.</summary>
    public IReadOnlySet<string>? GroupsOf(string? department) =>
        department is null || Departments.Count == 0 || !_closed.Contains(department) || MayWriteOf(department) || _given.Any(g => g.Owner == department && g.FieldGroup is null)
            ? null
            : _given.Where(g => g.Owner == department).Select(g => g.FieldGroup!).ToHashSet(StringComparer.Ordinal);

    /// <inheritdoc cref="SeesParts"/>
    public void SeeParts()
    {
        if (Departments.Count > 0)
        {
            (SeesParts, _unseen) = (true, null);
        }
    }

    /// <summary>What other departments have granted to the caller's; before anything is read.</summary>
    public void Know(IReadOnlyList<DepartmentGrant> given)
    {
        if (Departments.Count > 0)
        {
            (_given, _unseen) = (given, null);
        }
    }

    /// <summary>
    /// The caller approves what people of these departments asked for or have approved: what any of them may change is seen and
    /// can be changed until <see cref="EndApproval"/>.
    /// </summary>
    /// <param name="given">What others have granted to these departments.</param>
    public void Approve(IReadOnlyList<string> departments, IReadOnlyList<DepartmentGrant> given) =>
        (_requester, _unseen) = (new() { Departments = departments, _grants = _grants, _given = given }, null);

    /// <summary>The caller's own rights hold again.</summary>
    public void EndApproval() => (_requester, _unseen) = (null, null);

    /// <summary>What callers in these roles may read and write, whoever calls now.</summary>
    public static CallerRights OfRoles(IReadOnlyList<string> roles, Policy policy) => new()
    {
        _read = roles.Count == 0 ? null : FieldGroups.All.ToDictionary(g => g, g => policy.ReadOf(roles, g), StringComparer.Ordinal),
        _write = roles.Count == 0 ? null : FieldGroups.All.Where(g => policy.MayWrite(roles, g)).ToHashSet(StringComparer.Ordinal),
    };

    public FieldAccess Read(string group) => _read is null ? FieldAccess.Allow : _read.GetValueOrDefault(group);

    /// <summary>Members of dictionaries that are known only while the service runs, and the group that each has besides its dictionary's; before anything is read.</summary>
    public void Know(IReadOnlyDictionary<string, string> memberGroups)
    {
        if (!ReferenceEquals(this, Everything) && !ReferenceEquals(this, Nothing))
        {
            _memberGroups = memberGroups;
        }
    }

    /// <summary>The entries that the caller may see: what has a group of its own is left out unless that is allowed.</summary>
    /// <param name="granted">Of a record of which only these groups are granted: null for a whole one.</param>
    public Dictionary<string, T> Shown<T>(IEnumerable<KeyValuePair<string, T>> entries, IReadOnlySet<string>? granted = null) =>
        new(entries.Where(e => !_memberGroups.TryGetValue(e.Key, out var group) || (Read(group) == FieldAccess.Allow && granted?.Contains(group) is not false)), StringComparer.Ordinal);

    public bool MayWrite(string group) => _write?.Contains(group) is not false;

    /// <summary>Of what a patch says of a dictionary, the entries that have a group of their own which the caller may not write, and that group; null takes away whatever is there.</summary>
    internal IEnumerable<KeyValuePair<string, string>> Unwritable(JsonNode? entries) =>
        _memberGroups.Where(m => !MayWrite(m.Value) && (entries is null || (entries is JsonObject named && named.ContainsKey(m.Key))));

    /// <summary>For filters and searches: an answer to a question about a hidden value would tell the value.</summary>
    /// <param name="parameter">The query parameter that asks.</param>
    /// <exception cref="ProblemException">403 <c>field_forbidden</c>.</exception>
    public void RequireRead(string group, string parameter)
    {
        if (Read(group) != FieldAccess.Allow)
        {
            throw FieldRules.Forbidden(parameter, group);
        }
    }

    /// <exception cref="ProblemException">403 <c>field_forbidden</c>.</exception>
    public void RequireWrite(IEnumerable<string> groups)
    {
        if (groups.FirstOrDefault(g => !MayWrite(g)) is { } group)
        {
            throw FieldRules.Forbidden("", group);
        }
    }

    private static CallerRights Of(HttpContext http)
    {
        if (http.Items[typeof(CallerRights)] is CallerRights known)
        {
            return known;
        }

        if (http.User.Identity?.IsAuthenticated is not true)
        {
            return Nothing;
        }

        var rights = Of(http.User, http.RequestServices.GetRequiredService<Policy>());
        http.Items[typeof(CallerRights)] = rights;
        return rights;
    }

    private static CallerRights Of(ClaimsPrincipal user, Policy policy)
    {
        var ofRoles = OfRoles([.. user.FindAll(CallerClaims.Roles).Select(c => c.Value)], policy);
        return new()
        {
            _read = ofRoles._read,
            _write = ofRoles._write,
            _grants = policy.Grants,
            _approving = policy.Approving,
            _closed = policy.Closed,
            Rows = user.FindFirst(CallerClaims.Rows) is { Value: var rows } ? RowFilter.OfClaim(rows) : null,
            Departments = [.. user.FindAll(CallerClaims.Departments).Select(c => c.Value)],
        };
    }
}

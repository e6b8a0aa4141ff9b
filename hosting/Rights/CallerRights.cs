using System.Security.Claims;
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

    /// <summary>Whether the caller changes records that the department owns.</summary>
    public bool MayWriteOf(string department) => Departments.Count == 0 || Departments.Contains(department, StringComparer.Ordinal) || Departments.Any(d => _grants.Contains((department, d)));

    /// <summary>Whether the caller, who does not change records of the department, may ask it to.</summary>
    public bool MayAskFor(string department) => !MayWriteOf(department) && _approving.Contains(department);

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
        if (!AllFields && !ReferenceEquals(this, Nothing))
        {
            _memberGroups = memberGroups;
        }
    }

    /// <summary>The entries that the caller may see: what has a group of its own is left out unless that is allowed.</summary>
    public Dictionary<string, T> Shown<T>(IEnumerable<KeyValuePair<string, T>> entries) =>
        new(entries.Where(e => !_memberGroups.TryGetValue(e.Key, out var group) || Read(group) == FieldAccess.Allow), StringComparer.Ordinal);

    public bool MayWrite(string group) => _write?.Contains(group) is not false;

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
            Rows = user.FindFirst(CallerClaims.Rows) is { Value: var rows } ? RowFilter.OfClaim(rows) : null,
            Departments = [.. user.FindAll(CallerClaims.Departments).Select(c => c.Value)],
        };
    }
}

using System.ComponentModel.DataAnnotations;
using Crm.Contracts;
using Crm.Gateway.Authentication;
using Crm.Gateway.Domain;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.Gateway.Features;

/// <summary>A new key. Its secret is in this answer and nowhere else.</summary>
internal static class CreateKey
{
    private const string IdempotencyIndex = "api_key_idempotency";

    public sealed record Request
    {
        [Required, Line(200)]
        public string? Name { get; init; }

        [Required, AtMost(100), MinLength(1, ErrorMessage = "required|A key has at least one scope.")]
        public List<string>? Scopes { get; init; }

        /// <summary>Roles of the policy. They restrict the scopes and what the key sees and writes; without any it sees every field.</summary>
        [AtMost(20)]
        public List<string>? Roles { get; init; }

        /// <summary>Whom the key works for: it changes records of these departments and of none, not those of others.</summary>
        [AtMost(20)]
        public List<string>? Departments { get; init; }

        /// <summary>Whose rows the key sees; default: everybody's.</summary>
        public RowFilter? RowFilter { get; init; }

        /// <summary>Default: never.</summary>
        public DateTimeOffset? ExpiresAt { get; init; }

        /// <summary>Default: the installation's.</summary>
        [Range(1, 1_000_000)]
        public int? RequestsPerMinute { get; init; }

        internal static Request Of(ApiKey key) => new()
        {
            Name = key.Name,
            Scopes = key.Scopes,
            Roles = key.Roles,
            Departments = key.Departments,
            RowFilter = key.RowFilter,
            ExpiresAt = key.ExpiresAt,
            RequestsPerMinute = key.RequestsPerMinute,
        };
    }

    public static async Task<Created<CreatedKey>> Handle(Request request, HttpContext http, GatewayDb db, Policy policy, TimeProvider clock, CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        Check(request, http, policy, now);
        var secret = KeySecret.Generate();
        var key = ApiKey.Create(secret, request.Name!.Trim(), request.Scopes!, request.RequestsPerMinute, request.ExpiresAt, http.User.Subject(), now, IdempotencyKeyOf(http))
            .Restricted(request.Roles ?? [], request.Departments ?? [], request.RowFilter);
        db.Keys.Add(key);
        db.Audit("created", "key", key.Id, customerId: null, AuditChanges.Between(null, Request.Of(key)));
        try
        {
            await db.SaveChangesAsync(ct);
        }
        catch (DbUpdateException exception) when (exception.InnerException is PostgresException { ConstraintName: IdempotencyIndex })
        {
            // The first answer cannot be given again: its secret was never stored.
            db.ChangeTracker.Clear();
            var first = await db.Keys.SingleAsync(k => k.CreatedBy == key.CreatedBy && k.IdempotencyKey == key.IdempotencyKey, ct);
            throw new ProblemException(ProblemCodes.AlreadyExists, "A key was made under this Idempotency-Key, and its secret was shown then. Revoke it when the answer was lost, and make another.")
            {
                Extensions = new Dictionary<string, object?>(StringComparer.Ordinal) { ["id"] = first.PublicId },
            };
        }

        http.Response.Headers.CacheControl = "no-store";
        http.Response.Headers.ETag = ETags.Of(key.Version);
        return TypedResults.Created($"/v1/keys/{key.PublicId}", new CreatedKey(
            key.PublicId, secret.Text, key.Name, key.Hint, KeyView.StatusOf(key, now), key.Scopes, key.Roles, key.Departments, key.RowFilter, key.RequestsPerMinute, key.ExpiresAt, key.CreatedBy, key.CreatedAt));
    }

    /// <param name="expires">When the key, which is there already, expires now.</param>
    /// <exception cref="ProblemException">400 with every field that is wrong, or more than the caller may give.</exception>
    internal static void Check(Request request, HttpContext http, Policy policy, DateTimeOffset now, DateTimeOffset? expires = null)
    {
        var errors = new List<FieldError>();
        for (var i = 0; i < request.Scopes!.Count; i++)
        {
            var scope = request.Scopes[i];
            if (scope is null || !Scopes.All.Contains(scope, StringComparer.Ordinal))
            {
                errors.Add(new($"/scopes/{i}", "unknown_scope", "There is no such scope."));
            }
            else if (!http.User.HasScope(scope))
            {
                errors.Add(new($"/scopes/{i}", "scope_not_held", "A key cannot get a scope that its creator does not have."));
            }
            else if (request.Roles is { Count: > 0 } roles && !policy.ScopesOf(roles).Contains(scope, StringComparer.Ordinal))
            {
                errors.Add(new($"/scopes/{i}", "scope_not_of_role", "None of the roles brings this scope."));
            }
        }

        errors.AddRange(WrongRoles(request, http, policy));
        errors.AddRange(WrongRows(request));

        if (request.ExpiresAt <= now && request.ExpiresAt != expires)
        {
            errors.Add(new("/expires_at", "out_of_range", "The key would have expired already."));
        }

        if (errors.Count > 0)
        {
            throw ProblemException.Invalid(errors);
        }
    }

    /// <summary>Nobody makes a key that sees more than the own one.</summary>
    private static IEnumerable<FieldError> WrongRoles(Request request, HttpContext http, Policy policy)
    {
        var own = http.Features.GetRequiredFeature<Caller>().Subject;
        foreach (var (role, i) in (request.Roles ?? []).Select((r, i) => (r, i)))
        {
            if (role is null || !policy.Roles.ContainsKey(role))
            {
                yield return new($"/roles/{i}", "unknown_role", "There is no such role.");
            }
            else if (own.Roles.Count > 0 && !own.Roles.Contains(role, StringComparer.Ordinal))
            {
                yield return new($"/roles/{i}", "role_not_held", "A key cannot get a role that its creator does not have.");
            }
        }

        foreach (var (department, i) in (request.Departments ?? []).Select((d, i) => (d, i)))
        {
            if (department is null || !SlugAttribute.IsSlug(department))
            {
                yield return new($"/departments/{i}", "wrong_format", "Lower-case letters, digits, _ - and . only, 1 to 64 of them.");
            }
            else if (own.Departments.Count > 0 && !own.Departments.Contains(department, StringComparer.Ordinal))
            {
                yield return new($"/departments/{i}", "department_not_held", "A key cannot get a department that its creator does not belong to.");
            }
        }

        if (own.Roles.Count > 0 && request.Roles is null or [])
        {
            yield return new("/roles", "required", "Whoever has roles makes keys with roles.");
        }

        if (own.Departments.Count > 0 && request.Departments is null or [])
        {
            yield return new("/departments", "required", "Whoever belongs to departments makes keys of departments.");
        }

        if (own.Rows is { } rows && rows.ToClaim() != request.RowFilter?.ToClaim())
        {
            yield return new("/row_filter", "row_filter_not_held", "A key sees the rows that its creator sees.");
        }
    }

    private static IEnumerable<FieldError> WrongRows(Request request)
    {
        if (request.RowFilter is not { } rows)
        {
            yield break;
        }

        if ((rows.Attribute is null) != (rows.Value is null) || (rows.Attribute is null) == (rows.Departments is null or []))
        {
            yield return new("/row_filter", "invalid", "Either attribute and equals, or departments.");
        }
        else if (rows.Departments?.Exists(d => d is null || !SlugAttribute.IsSlug(d)) is true)
        {
            yield return new("/row_filter/departments", "wrong_format", "Lower-case letters, digits, _ - and . only, 1 to 64 of them.");
        }
    }

    private static string? IdempotencyKeyOf(HttpContext http) => http.Request.Headers["Idempotency-Key"] switch
    {
        [] => null,
        [{ Length: > 0 and <= 255 } key] => key,
        _ => throw new ProblemException(ProblemCodes.BadRequest, "Idempotency-Key has 1 to 255 characters.", new FieldError("Idempotency-Key", "wrong_length")),
    };
}

using System.ComponentModel.DataAnnotations;
using Crm.Contracts;
using Crm.Gateway.Domain;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
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

        /// <summary>Default: never.</summary>
        public DateTimeOffset? ExpiresAt { get; init; }

        /// <summary>Default: the installation's.</summary>
        [Range(1, 1_000_000)]
        public int? RequestsPerMinute { get; init; }
    }

    public static async Task<Created<CreatedKey>> Handle(Request request, HttpContext http, GatewayDb db, TimeProvider clock, CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        Check(request, http, now);
        var secret = KeySecret.Generate();
        var key = ApiKey.Create(secret, request.Name!.Trim(), request.Scopes!, request.RequestsPerMinute, request.ExpiresAt, http.User.Subject(), now, IdempotencyKeyOf(http));
        db.Keys.Add(key);
        db.Audit("created", "key", key.Id, customerId: null, AuditChanges.Between(null, new { key.Name, key.Scopes, key.ExpiresAt, key.RequestsPerMinute }));
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
        return TypedResults.Created($"/v1/keys/{key.PublicId}", new CreatedKey(
            key.PublicId, secret.Text, key.Name, key.Hint, KeyView.StatusOf(key, now), key.Scopes, key.RequestsPerMinute, key.ExpiresAt, key.CreatedBy, key.CreatedAt));
    }

    private static void Check(Request request, HttpContext http, DateTimeOffset now)
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
        }

        if (request.ExpiresAt <= now)
        {
            errors.Add(new("/expires_at", "out_of_range", "The key would have expired already."));
        }

        if (errors.Count > 0)
        {
            throw ProblemException.Invalid(errors);
        }
    }

    private static string? IdempotencyKeyOf(HttpContext http) => http.Request.Headers["Idempotency-Key"] switch
    {
        [] => null,
        [{ Length: > 0 and <= 255 } key] => key,
        _ => throw new ProblemException(ProblemCodes.BadRequest, "Idempotency-Key has 1 to 255 characters.", new FieldError("Idempotency-Key", "wrong_length")),
    };
}

using System.Security.Cryptography;
using System.Text.Json;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Erasure;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace Crm.Hosting.Web;

/// <summary>
/// <c>Idempotency-Key</c> on POST and PATCH (draft-ietf-httpapi-idempotency-key-header): the answer is
/// stored in the transaction of the write, so a retry after any crash gets the first answer or does the
/// work, never both. Only successes are kept: a request that failed changed nothing and may be sent again.
/// An answer that had something of somebody erased in it, about a record that stays, is 410 <c>erased</c> from then on.
/// </summary>
public static class Idempotency
{
    public const string Header = "Idempotency-Key";

    private const int LongestKey = 255;
    /// <summary>The stored status of what was carried out and whose answer was erased.</summary>
    public const int ErasedAnswer = StatusCodes.Status410Gone;

    private static readonly string[] KeptHeaders = ["ETag", "Location", "Content-Type"];

    internal static async Task HandleAsync(HttpContext http, RequestDelegate next)
    {
        if (!(HttpMethods.IsPost(http.Request.Method) || HttpMethods.IsPatch(http.Request.Method))
            || !http.Request.Headers.TryGetValue(Header, out var header)
            || http.GetEndpoint()?.Metadata.GetMetadata<ScopeMetadata>() is null)
        {
            await next(http);
            return;
        }

        if (header is not [{ Length: > 0 and <= LongestKey } key])
        {
            await RefuseAsync(http);
            return;
        }

        var ct = http.RequestAborted;
        var db = http.RequestServices.GetRequiredService<CrmDbContext>();
        var owner = http.User.Subject();
        var operation = $"{http.Request.Method} {http.Request.Path}{http.Request.QueryString}";
        // What an endpoint takes that is larger than any other body is hashed as it is read: there is no room to keep it.
        using var large = http.GetEndpoint()?.Metadata.GetMetadata<IRequestSizeLimitMetadata>() is null ? null : new HashedBody(http.Request.Body);
        var hash = large is null ? await HashAsync(http.Request, ct) : null;

        await using var transaction = await db.Database.BeginTransactionAsync(ct);
        try
        {
            await db.Database.ExecuteSqlRawAsync("SET LOCAL lock_timeout = '5s'", ct);
            await db.LockAsync([$"idempotency {owner} {operation} {key}"], ct);
            await db.Database.ExecuteSqlRawAsync("SET LOCAL lock_timeout = 0", ct);
        }
        catch (PostgresException exception) when (exception.SqlState == PostgresErrorCodes.LockNotAvailable)
        {
            http.Response.Headers.RetryAfter = "1";
            await Problems.WriteAsync(http, ProblemCodes.IdempotencyInProgress, "The first request under this key is still running; send it again later.");
            return;
        }

        if (await FindAsync((NpgsqlTransaction)transaction.GetDbTransaction(), owner, operation, key, ct) is { } stored)
        {
            // The database waits for no upload.
            await transaction.DisposeAsync();
            await ReplayAsync(http, stored, hash ?? new(await large!.FinishAsync(ct), null));
            return;
        }

        http.Request.Body = large ?? http.Request.Body;
        var original = http.Response.Body;
        using var buffer = new MemoryStream();
        http.Response.Body = buffer;
        try
        {
            await next(http);
        }
        finally
        {
            http.Response.Body = original;
        }

        if (http.Response.StatusCode is >= 200 and < 300)
        {
            hash ??= new(await large!.FinishAsync(ct), null);
            var headers = JsonSerializer.Serialize(KeptHeaders.Where(http.Response.Headers.ContainsKey)
                .ToDictionary(h => h, h => http.Response.Headers[h].ToString(), StringComparer.Ordinal));
            await db.Database.ExecuteSqlAsync($"""
                INSERT INTO idempotency (owner, operation, key, body_hash, json_hash, status, headers, body, names)
                VALUES ({owner}, {operation}, {key}, {hash.Bytes}, {hash.Json}, {http.Response.StatusCode}, {headers}::jsonb, {buffer.ToArray()}, {PublicIds.In(operation, buffer.ToArray())})
                """, ct);
            await transaction.CommitAsync(ct);
        }

        buffer.Position = 0;
        await buffer.CopyToAsync(original, ct);
    }

    /// <summary>400: the key is too short or too long.</summary>
    public static Task RefuseAsync(HttpContext http) =>
        Problems.WriteAsync(http, ProblemCodes.BadRequest, $"{Header} has 1 to {LongestKey} characters.", new FieldError(Header, "wrong_length"));

    /// <summary>Leaves the body to be read once more.</summary>
    private static async Task<BodyHash> HashAsync(HttpRequest request, CancellationToken ct)
    {
        request.EnableBuffering();
        var hash = await SHA256.HashDataAsync(request.Body, ct);
        request.Body.Position = 0;
        if (!request.HasJsonContentType())
        {
            return new(hash, null);
        }

        try
        {
            using var json = await JsonDocument.ParseAsync(request.Body, cancellationToken: ct);
            return new(hash, CanonicalJson.Hash(json.RootElement));
        }
        catch (JsonException)
        {
            // The endpoint says so.
            return new(hash, null);
        }
        finally
        {
            request.Body.Position = 0;
        }
    }

    private static async Task<StoredAnswer?> FindAsync(NpgsqlTransaction transaction, string owner, string operation, string key, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(
            "SELECT body_hash, json_hash, status, headers::text, body FROM idempotency WHERE owner = @owner AND operation = @operation AND key = @key", transaction.Connection, transaction);
        command.Parameters.Add(new NpgsqlParameter<string>("owner", owner));
        command.Parameters.Add(new NpgsqlParameter<string>("operation", operation));
        command.Parameters.Add(new NpgsqlParameter<string>("key", key));
        await using var reader = await command.ExecuteReaderAsync(ct);
        return await reader.ReadAsync(ct)
            ? new(new(reader.GetFieldValue<byte[]>(0), reader.IsDBNull(1) ? null : reader.GetFieldValue<byte[]>(1)), reader.GetInt32(2), reader.GetString(3), reader.GetFieldValue<byte[]>(4))
            : null;
    }

    private static async Task ReplayAsync(HttpContext http, StoredAnswer stored, BodyHash hash)
    {
        if (!stored.Hash.IsOfSame(hash))
        {
            await Problems.WriteAsync(http, ProblemCodes.IdempotencyMismatch, "This key was used with another body; take a new one.");
            return;
        }

        http.Response.Headers["Idempotent-Replayed"] = "true";
        http.Response.StatusCode = stored.Status;
        foreach (var (name, value) in JsonSerializer.Deserialize<Dictionary<string, string>>(stored.Headers)!)
        {
            http.Response.Headers[name] = value;
        }

        if (stored.Status == ErasedAnswer)
        {
            await Problems.WriteAsync(http, ProblemCodes.Erased, "This was carried out; its answer named somebody who was erased since. Read the record instead.");
            return;
        }

        await http.Response.Body.WriteAsync(stored.Body);
    }

    private sealed record StoredAnswer(BodyHash Hash, int Status, string Headers, byte[] Body);

    /// <param name="Json">Of the canonical form; null for what is no JSON, and for what earlier releases stored.</param>
    private sealed record BodyHash(byte[] Bytes, byte[]? Json)
    {
        public bool IsOfSame(BodyHash other) => Bytes.AsSpan().SequenceEqual(other.Bytes) || (Json is not null && other.Json is not null && Json.AsSpan().SequenceEqual(other.Json));
    }
}

using System.ComponentModel.DataAnnotations;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Contacts.Features.Erasures;

/// <summary>What a receipt says and who signed it. 422 when it is altered or signed by nobody of this platform.</summary>
internal static class VerifyReceipt
{
    public sealed record Request
    {
        /// <summary>The <c>statement</c> of a receipt.</summary>
        [Required, Line(20_000)]
        public string? Statement { get; init; }
    }

    /// <param name="Service">Who signed.</param>
    /// <param name="KeyId">With which key of <c>GET /v1/erasure-receipts/keys</c>.</param>
    public sealed record Response(string Service, string KeyId, ErasureStatement Statement);

    /// <summary>The services' public keys (RFC 7517).</summary>
    public sealed record KeySet(IReadOnlyList<StatementKey> Keys);

    public static async Task<Ok<Response>> Handle(Request body, SignedStatements statements, CancellationToken ct) =>
        await statements.VerifyAsync<ErasureStatement>(body.Statement!, ct) is var (service, key, statement) && statement.Service == service
            ? TypedResults.Ok(new Response(service, key, statement))
            : throw new ProblemException(ProblemCodes.Unprocessable, "It is no receipt of a service of this platform, or was altered.", new FieldError("/statement", "bad_signature"));

    public static async Task<Ok<KeySet>> HandleKeys(SignedStatements statements, CancellationToken ct) => TypedResults.Ok(new KeySet(await statements.KeysAsync(ct)));
}

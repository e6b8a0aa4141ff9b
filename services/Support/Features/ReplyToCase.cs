using Crm.Contracts;
using Crm.Hosting.Rights;
using System.ComponentModel.DataAnnotations;
using Crm.Hosting.Web;
using Crm.Support.Domain;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Support.Features;

/// <summary>Adds a message, ours or the customer's, to a case.</summary>
internal static class ReplyToCase
{
    public sealed record Request
    {
        /// <summary><c>inbound</c> is customer to us.</summary>
        [Required]
        public MessageDirection? Direction { get; init; }

        [Required, Prose(20_000)]
        [FieldGroup(FieldGroups.Notes)]
        public string? Body { get; init; }

        /// <summary>Who wrote it: a name or an e-mail address.</summary>
        [Line(254)]
        [FieldGroup(FieldGroups.ContactDetails)]
        public string? Author { get; init; }
    }

    /// <param name="CaseStatus">The case's, now that the message is there.</param>
    public sealed record Response(MessageView Message, CaseStatus CaseStatus, long CaseVersion);

    public static async Task<Created<Response>> Handle(string id, Request body, HttpContext http, SupportDb db, TimeProvider clock, CancellationToken ct)
    {
        CaseMessage message = null!;
        var it = await db.ChangeAsync(id, it =>
        {
            message = it.Reply(body.Direction!.Value, body.Body!, body.Author, http.Now(clock));
            return true;
        }, ct);
        return TypedResults.Created($"/v1/cases/{id}/messages", new Response(MessageView.Of(message), it.Status, it.Version));
    }
}

using System.ComponentModel.DataAnnotations;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>Appends a statement to the ledger; the latest by its own time is what holds.</summary>
internal static class RecordConsent
{
    public sealed record Request
    {
        [Required]
        public ConsentChannel? Channel { get; init; }

        /// <summary>What for, such as <c>marketing</c>.</summary>
        [Required, Slug]
        public string? Purpose { get; init; }

        [Required]
        public ConsentState? State { get; init; }

        /// <summary>Default <c>consent</c>.</summary>
        public LegalBasis? LegalBasis { get; init; }

        /// <summary>Where it was said, such as <c>web_form</c>.</summary>
        [Required, Line(200)]
        public string? Source { get; init; }

        /// <summary>The words that the person saw, or their version.</summary>
        [Prose(4000)]
        public string? Wording { get; init; }

        /// <summary>When it was said; default now.</summary>
        public DateTimeOffset? At { get; init; }
    }

    public static async Task<Created<ConsentView>> Handle(string id, Request body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        if (body.At > now.AddMinutes(5))
        {
            throw ProblemException.Invalid(new FieldError("/at", "out_of_range", "Consent cannot be given in the future."));
        }

        if (!Ids.Customer.TryParse(id, out var customerId) || !await db.Customers.AnyAsync(c => c.Id == customerId, ct))
        {
            throw ProblemException.NotFound("customer");
        }

        var said = new Consent
        {
            Id = Guid.CreateVersion7(now),
            CustomerId = customerId,
            Channel = body.Channel!.Value,
            Purpose = body.Purpose!,
            State = body.State!.Value,
            LegalBasis = body.LegalBasis ?? LegalBasis.Consent,
            Source = body.Source!,
            Wording = body.Wording,
            At = body.At ?? now,
            Actor = http.User.Subject(),
            RecordedAt = now,
        };
        await db.InTransactionAsync(async () =>
        {
            await db.LockAsync([$"consent {customerId} {said.Channel} {said.Purpose}"], ct);
            db.Consents.Add(said);
            var current = await db.CurrentConsents.FirstOrDefaultAsync(c => c.CustomerId == customerId && c.Channel == said.Channel && c.Purpose == said.Purpose, ct);
            if (current is null)
            {
                current = CurrentConsent.Of(said);
                db.CurrentConsents.Add(current);
                db.Publish(current, current.Recorded());
            }
            else if (current.Apply(said))
            {
                db.Publish(current, current.Recorded());
            }

            return await db.SaveChangesAsync(ct);
        }, ct);
        return TypedResults.Created($"/v1/customers/{id}/consents", ConsentView.Of(said));
    }
}

/// <summary>One statement of the ledger.</summary>
public sealed record ConsentView(
    string Id, ConsentChannel Channel, string Purpose, ConsentState State, LegalBasis LegalBasis, string Source, string? Wording,
    DateTimeOffset At, string Actor, DateTimeOffset RecordedAt)
{
    internal static ConsentView Of(Consent consent) => new(
        Ids.Consent.Format(consent.Id), consent.Channel, consent.Purpose, consent.State, consent.LegalBasis, consent.Source, consent.Wording,
        consent.At, consent.Actor, consent.RecordedAt);
}

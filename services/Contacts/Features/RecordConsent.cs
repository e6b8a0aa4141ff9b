using System.ComponentModel.DataAnnotations;
using System.Net;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>
/// Appends a statement to the ledger; the latest by its own time is what holds. A pause holds beside it, and says nothing
/// of what is granted. A refusal is taken in the recycle bin too: it holds when the customer is restored.
/// Whichever department owns the record: a statement is the person's own, is heard by whoever meets the person, and a
/// refusal must not wait for an approval; who said it is in the ledger, and nothing there is ever changed.
/// </summary>
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

        /// <summary>
        /// With state <c>paused</c>: nothing is sent before, and then all goes on as granted; two years ahead at most. One
        /// that is over already ends a pause.
        /// </summary>
        public DateTimeOffset? PausedUntil { get; init; }

        /// <summary>Default <c>consent</c>.</summary>
        public LegalBasis? LegalBasis { get; init; }

        /// <summary>Where it was said, such as <c>web_form</c>.</summary>
        [Required, Line(200)]
        public string? Source { get; init; }

        /// <summary>The words that the person saw, or their version.</summary>
        [Prose(4000)]
        [FieldGroup(FieldGroups.ConsentProof)]
        public string? Wording { get; init; }

        /// <summary>Which version of the words it was, such as <c>newsletter-2026-03</c>.</summary>
        [Line(100)]
        [FieldGroup(FieldGroups.ConsentProof)]
        public string? WordingVersion { get; init; }

        /// <summary>The person's address on the network when it was said.</summary>
        [Line(45)]
        [FieldGroup(FieldGroups.ConsentProof)]
        public string? Ip { get; init; }

        /// <summary>
        /// With state <c>pending</c> and channel <c>email</c>: the person gets a mail and the consent is granted by a
        /// click on its link within seven days. At most three such mails a day for one purpose, a minute between them, and
        /// ten to one mailbox, whoever is asked for whatever.
        /// </summary>
        public bool? DoubleOptIn { get; init; }

        /// <summary>When it was said; default now, after all that was said before, even what dates itself ahead.</summary>
        public DateTimeOffset? At { get; init; }
    }

    public static async Task<Created<ConsentView>> Handle(string id, Request body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        if (body.At > now.AddMinutes(5))
        {
            throw ProblemException.Invalid(new FieldError("/at", "out_of_range", "Consent cannot be given in the future."));
        }

        if ((body.State == ConsentState.Paused) != (body.PausedUntil is not null))
        {
            throw ProblemException.Invalid(new FieldError("/paused_until", body.PausedUntil is null ? "required" : "not_allowed", "A pause, and nothing else, says until when."));
        }

        if (body.PausedUntil > now + Consent.LongestPause)
        {
            throw ProblemException.Invalid(new FieldError("/paused_until", "out_of_range", "At most two years ahead; for longer, withdraw."));
        }

        IPAddress? ip = null;
        if (body.Ip is not null && !(IPAddress.TryParse(body.Ip, out ip) && (body.Ip.Contains(':', StringComparison.Ordinal) || ip.ToString() == body.Ip)))
        {
            throw ProblemException.Invalid(new FieldError("/ip", "wrong_format", "An IPv4 or IPv6 address."));
        }

        if (body.DoubleOptIn is true && (body.State != ConsentState.Pending || body.Channel != ConsentChannel.Email || body.At is not null))
        {
            throw ProblemException.Invalid(new FieldError("/double_opt_in", "not_allowed", "A confirmation is asked for by e-mail, of a pending consent, and now: without at."));
        }

        var refused = body.State is ConsentState.Denied or ConsentState.Withdrawn;
        var named = refused ? (await db.FindKeptRootAsync(id, ct)).Root : await db.FindRootAsync(id, ct);
        Consent Statement(Guid customerId, DateTimeOffset at, DateTimeOffset recordedAt) => new()
        {
            Id = Guid.CreateVersion7(recordedAt),
            CustomerId = customerId,
            Channel = body.Channel!.Value,
            Purpose = body.Purpose!,
            State = body.State!.Value,
            PausedUntil = body.PausedUntil,
            LegalBasis = body.LegalBasis ?? LegalBasis.Consent,
            Source = body.Source!,
            Wording = body.Wording,
            WordingVersion = body.WordingVersion,
            Ip = ip,
            At = at,
            Actor = http.User.Subject(),
            RecordedAt = recordedAt,
        };
        var said = await db.InTransactionAsync(async () =>
        {
            var customer = refused ? await db.HoldKeptAsync(named, ct) : await db.HoldLivingAsync(named, ct);
            // Whoever waited here for a merge is recorded after it.
            var recordedAt = clock.GetUtcNow();
            var (channel, purpose) = (body.Channel!.Value, body.Purpose!);
            await db.LockConsentAsync(customer.Id, channel, purpose, ct);
            var said = Statement(customer.Id, body.At ?? await db.TimeOfConsentAsync(customer.Id, channel, purpose, body.State == ConsentState.Paused, recordedAt, ct), recordedAt);
            var asked = body.DoubleOptIn is true ? await AskAsync(said, customer, db, ct) : null;
            var current = await db.AppendAsync(said, ct);
            if (asked is not null)
            {
                db.Publish(current, asked);
            }

            await db.SaveChangesAsync(ct);
            return said;
        }, ct);
        return TypedResults.Created($"/v1/customers/{id}/consents", ConsentView.Of(said));
    }

    /// <exception cref="ProblemException">409 when it is granted already, 422 without a mailbox, 429 when the person was asked too often.</exception>
    private static async Task<ConsentConfirmationRequested> AskAsync(Consent said, Customer customer, ContactsDb db, CancellationToken ct)
    {
        if (customer.Emails.FirstOrDefault(e => e.Primary is true)?.Address is not { } address)
        {
            throw new ProblemException(ProblemCodes.Unprocessable, "The customer has no e-mail address to confirm from.", new FieldError("/double_opt_in", "no_address"));
        }

        if (await db.CurrentConsents.AnyAsync(
            c => c.CustomerId == said.CustomerId && c.Channel == said.Channel && c.Purpose == said.Purpose && c.State == ConsentState.Granted, ct))
        {
            throw new ProblemException(ProblemCodes.Conflict, "It is granted already; a pending consent would take it away.", new FieldError("/state", "granted_already"));
        }

        // Whoever has this mailbox is asked one after the other, so that all are counted.
        var mailbox = address.ToLowerInvariant();
        await db.LockAsync([$"confirmations {mailbox}"], ct);
        var day = said.RecordedAt - TimeSpan.FromDays(1);
        var asked = await db.ConsentConfirmations
            .Where(c => c.CustomerId == said.CustomerId && c.Channel == said.Channel && c.Purpose == said.Purpose && c.RequestedAt > day)
            .OrderByDescending(c => c.RequestedAt).Select(c => c.RequestedAt).ToListAsync(ct);
        var mailed = await db.ConsentConfirmations.Where(c => c.Mailbox == mailbox && c.RequestedAt > day)
            .OrderByDescending(c => c.RequestedAt).Select(c => c.RequestedAt).Take(ConsentConfirmation.MostADayToMailbox).ToListAsync(ct);
        var freeForPurpose = asked.Count >= ConsentConfirmation.MostADay ? asked[ConsentConfirmation.MostADay - 1] + TimeSpan.FromDays(1)
            : asked.Count > 0 ? asked[0] + ConsentConfirmation.Pause
            : said.RecordedAt;
        var freeAtMailbox = mailed.Count >= ConsentConfirmation.MostADayToMailbox ? mailed[^1] + TimeSpan.FromDays(1) : said.RecordedAt;
        var free = freeForPurpose > freeAtMailbox ? freeForPurpose : freeAtMailbox;
        if (free > said.RecordedAt)
        {
            throw new ProblemException(
                ProblemCodes.RateLimited,
                $"The person was asked a short while ago; at most {ConsentConfirmation.MostADay} mails a day for one purpose, a minute between them, and {ConsentConfirmation.MostADayToMailbox} to one mailbox.",
                new FieldError("/double_opt_in", "asked_lately"))
            {
                RetryAfter = (int)Math.Ceiling((free - said.RecordedAt).TotalSeconds),
            };
        }

        db.ConsentConfirmations.Add(new ConsentConfirmation
        {
            ConsentId = said.Id,
            CustomerId = said.CustomerId,
            Channel = said.Channel,
            Purpose = said.Purpose,
            Mailbox = mailbox,
            RequestedAt = said.RecordedAt,
            ExpiresAt = said.RecordedAt + ConsentConfirmation.Lifetime,
        });
        return new(
            Ids.Consent.Format(said.Id), Ids.Customer.Format(said.CustomerId), said.Channel.ToWord(), said.Purpose, address, said.Wording,
            said.RecordedAt + ConsentConfirmation.Lifetime);
    }
}

/// <summary>One statement of the ledger.</summary>
public sealed record ConsentView(
    string Id, ConsentChannel Channel, string Purpose, ConsentState State, LegalBasis LegalBasis, string Source,
    [property: FieldGroup(FieldGroups.ConsentProof)] string? Wording, [property: FieldGroup(FieldGroups.ConsentProof)] string? WordingVersion,
    [property: FieldGroup(FieldGroups.ConsentProof)] string? Ip, [property: FieldGroup(FieldGroups.ConsentProof)] ConsentEvidence? Evidence, DateTimeOffset At, string Actor, DateTimeOffset RecordedAt)
{
    /// <summary>Of a pause.</summary>
    public DateTimeOffset? PausedUntil { get; init; }

    /// <summary>Of source <c>merge_undo</c>: the statement that was said while two customers were merged, <c>con_…</c>.</summary>
    public string? CarriedFrom { get; init; }

    internal static ConsentView Of(Consent consent) => new(
        Ids.Consent.Format(consent.Id), consent.Channel, consent.Purpose, consent.State, consent.LegalBasis, consent.Source, consent.Wording,
        consent.WordingVersion, consent.Ip?.ToString(), consent.Evidence, consent.At, consent.Actor, consent.RecordedAt)
    {
        PausedUntil = consent.PausedUntil,
        CarriedFrom = Ids.Consent.Format(consent.CarriedFrom),
    };
}

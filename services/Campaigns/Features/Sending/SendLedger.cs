using System.Diagnostics;
using Crm.Campaigns.Domain.Campaigns;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.Campaigns.Features.Sending;

/// <summary>A message that this process alone may send now, and what its template needs of the customer.</summary>
/// <param name="CampaignId">Null for a confirmation, which has <paramref name="Confirmation"/> instead.</param>
/// <param name="Token">Of the link in the mail; the ledger knows its hash only.</param>
internal sealed record ClaimedMessage(
    Guid Id, Guid? CampaignId, int Attempts, MessageStatus Status, string? Address, IReadOnlyDictionary<string, string?> Values, string Token, Confirmation? Confirmation);

/// <summary>What is told of the campaign of a message that was sent.</summary>
/// <param name="AskedGroups">The field groups that its segment asked about.</param>
internal sealed record SentCampaign(string Name, IReadOnlyList<string> AskedGroups);

/// <summary>What a mail that asks for a confirmation says.</summary>
internal sealed record Confirmation(string Purpose, string? Wording, DateTimeOffset ExpiresAt);

/// <summary>
/// The steps of a message through the ledger. A row turns <c>sending</c>, in a commit of its own, before any data
/// goes out; found so after its lease it is <c>uncertain</c>, and nothing here ever takes it up again.
/// </summary>
internal sealed class SendLedger(NpgsqlDataSource dataSource, IServiceScopeFactory scopes, TimeProvider clock)
{
    /// <summary>A message that its mail server puts off for longer has failed.</summary>
    private static readonly TimeSpan LongestDeferral = TimeSpan.FromHours(24);

    private static readonly string[] Variables = ["given_name", "family_name", "display_name", "email", "country", "locale", "lifecycle", "tier", "department"];

    /// <summary>
    /// One statement: takes a due row of those that Contacts was asked about and that no other replica holds, asks at this
    /// moment whether the customer may be written to as far as this service knows, too, enters the address under its unique
    /// key, and marks the row <c>sending</c> or <c>suppressed</c>.
    /// A retry finds its own address entered and goes on. The lease is by the database's clock.
    /// </summary>
    private const string ClaimSql = """
        WITH picked AS (
            SELECT m.id, m.campaign_id, m.customer_id, m.channel, m.kind, m.to_address, m.expires_at, a.answer
            FROM unnest(@asked, @customers, @answers) AS a (id, customer_id, answer) JOIN messages m ON m.id = a.id
            -- Of whom it belongs to since a merge nothing was asked.
            WHERE m.status = 'pending' AND m.next_at <= now() AND m.customer_id = a.customer_id
            ORDER BY m.next_at, m.id LIMIT 1
            FOR UPDATE OF m SKIP LOCKED
        ), judged AS (
            SELECT p.id, p.campaign_id, p.kind, lower(c.primary_email) AS address,
                   coalesce(p.to_address, c.primary_email) AS email, c.given_name, c.family_name, c.display_name, c.country, c.locale, c.lifecycle, c.tier, c.department,
                   CASE
                       -- Who asked to be asked has not consented yet, and may be known here only a moment later.
                       WHEN p.kind = 'confirmation' THEN
                           CASE WHEN c.state <> 'active' THEN 'not_active' WHEN p.expires_at <= now() THEN 'expired' END
                       WHEN c.state IS DISTINCT FROM 'active' THEN 'not_active'
                       WHEN NOT EXISTS (SELECT 1 FROM customer_consents n WHERE n.customer_id = p.customer_id
                           AND n.channel = 'email' AND n.purpose = 'marketing' AND n.state = 'granted'
                           -- An unsubscription counts from its own commit on, before it has been to Contacts and back.
                           AND NOT EXISTS (SELECT 1 FROM messages u WHERE u.customer_id = p.customer_id AND u.kind = 'campaign'
                               AND u.link_used_at >= n.at)
                           -- So does one of anybody else who has this mailbox (Links/RefusedMailboxes.cs).
                           AND NOT EXISTS (SELECT 1 FROM refused_mailboxes r WHERE r.digest = sha256(convert_to(lower(c.primary_email), 'UTF8'))
                               AND r.purpose = 'marketing' AND r.refused_at >= n.at)) THEN 'no_consent'
                       -- Contacts knows better than the copy.
                       WHEN p.answer IS NOT NULL THEN p.answer
                       WHEN EXISTS (SELECT 1 FROM customer_consents n WHERE n.customer_id = p.customer_id
                           AND n.channel = 'email' AND n.purpose = 'marketing' AND n.paused_until > now()) THEN 'paused'
                       WHEN EXISTS (SELECT 1 FROM cases k WHERE k.customer_id = p.customer_id
                           AND k.status <> 'solved' AND k.type = 'complaint') THEN 'open_complaint'
                       WHEN coalesce(c.primary_email, '') = '' THEN 'no_address'
                       WHEN EXISTS (SELECT 1 FROM messages o WHERE o.customer_id = p.customer_id AND o.campaign_id = p.campaign_id AND o.channel = p.channel
                           AND o.id <> p.id AND (o.status IN ('sending', 'sent', 'uncertain') OR (o.status = 'pending' AND o.id < p.id))) THEN 'duplicate_customer'
                   END AS reason
            FROM picked p LEFT JOIN customers c ON c.id = p.customer_id
        ), entered AS (
            INSERT INTO campaign_addresses AS a (campaign_id, address, message_id)
            SELECT campaign_id, address, id FROM judged WHERE reason IS NULL AND kind = 'campaign'
            ON CONFLICT (campaign_id, address) DO UPDATE SET message_id = a.message_id WHERE a.message_id = excluded.message_id
            RETURNING message_id
        ), decided AS (
            SELECT j.*, coalesce(j.reason, CASE WHEN j.kind = 'campaign' AND e.message_id IS NULL THEN 'duplicate_address' END) AS final_reason
            FROM judged j LEFT JOIN entered e ON e.message_id = j.id
        )
        UPDATE messages m SET
            status = CASE WHEN d.final_reason IS NULL THEN 'sending' ELSE 'suppressed' END,
            reason = d.final_reason,
            attempts = m.attempts + CASE WHEN d.final_reason IS NULL THEN 1 ELSE 0 END,
            lease_until = CASE WHEN d.final_reason IS NULL THEN now() + make_interval(secs => @lease) END,
            message_domain = CASE WHEN d.final_reason IS NULL THEN coalesce(m.message_domain, @domain) ELSE m.message_domain END,
            link_hash = CASE WHEN d.final_reason IS NULL THEN @link ELSE m.link_hash END,
            finished_at = CASE WHEN d.final_reason IS NOT NULL THEN now() END
        FROM decided d WHERE m.id = d.id
        RETURNING m.id, m.campaign_id, m.attempts, m.status, m.purpose, m.wording, m.expires_at,
            d.given_name, d.family_name, d.display_name, d.email, d.country, d.locale, d.lifecycle, d.tier, d.department
        """;

    public async Task<bool> AnyDueAsync(CancellationToken ct)
    {
        await using var command = dataSource.CreateCommand("SELECT EXISTS (SELECT 1 FROM messages WHERE status = 'pending' AND next_at <= now())");
        return await command.ExecuteScalarAsync(ct) is true;
    }

    /// <summary>The first that are due, of confirmations and of campaigns' messages this many each; nobody holds them.</summary>
    public async Task<IReadOnlyList<DueMessage>> FindDueAsync(int limit, bool campaigns, CancellationToken ct)
    {
        await using var command = dataSource.CreateCommand("""
            (SELECT id, customer_id, kind FROM messages
                WHERE status = 'pending' AND kind = 'confirmation' AND next_at <= now() ORDER BY next_at, id LIMIT @limit)
            UNION ALL
            (SELECT id, customer_id, kind FROM messages
                WHERE status = 'pending' AND kind = 'campaign' AND next_at <= now() AND @campaigns ORDER BY next_at, id LIMIT @limit)
            """);
        command.Parameters.Add(new NpgsqlParameter<int>("limit", limit));
        command.Parameters.Add(new NpgsqlParameter<bool>("campaigns", campaigns));
        await using var reader = await command.ExecuteReaderAsync(ct);
        var due = new List<DueMessage>();
        while (await reader.ReadAsync(ct))
        {
            due.Add(new(reader.GetGuid(0), reader.GetGuid(1), EnumWords<MessageKind>.Parse(reader.GetString(2))));
        }

        return due;
    }

    /// <summary>Rows whose sender died: the mail may be out, so they are uncertain and stay so.</summary>
    public async Task<int> ExpireLeasesAsync(CancellationToken ct)
    {
        await using var command = dataSource.CreateCommand("""
            UPDATE messages SET status = 'uncertain', reason = 'sender_lost', finished_at = now(), lease_until = NULL
            WHERE status = 'sending' AND lease_until < now()
            """);
        return await command.ExecuteNonQueryAsync(ct);
    }

    /// <summary>Null when none of these messages is due any more that is not held by another sender.</summary>
    public async Task<ClaimedMessage?> ClaimAsync(AskedMessages asked, int leaseSeconds, string domain, CancellationToken ct)
    {
        await using var command = dataSource.CreateCommand(ClaimSql);
        command.Parameters.Add(new NpgsqlParameter<Guid[]>("asked", [.. asked.Messages.Select(m => m.Id)]));
        command.Parameters.Add(new NpgsqlParameter<Guid[]>("customers", [.. asked.Messages.Select(m => m.CustomerId)]));
        command.Parameters.Add(new NpgsqlParameter<string?[]>("answers", [.. asked.Answers.Select(a => a?.ToWord())]));
        command.Parameters.Add(new NpgsqlParameter<double>("lease", leaseSeconds));
        command.Parameters.Add(new NpgsqlParameter<string>("domain", domain));
        var token = LinkToken.New();
        command.Parameters.Add(new NpgsqlParameter<byte[]>("link", LinkToken.Hash(token)));
        await using var reader = await command.ExecuteReaderAsync(ct);
        if (!await reader.ReadAsync(ct))
        {
            return null;
        }

        var values = Variables.ToDictionary(v => v, v => reader[v] as string, StringComparer.Ordinal);
        var confirmation = reader.IsDBNull(6) ? null : new Confirmation(reader.GetString(4), reader["wording"] as string, reader.GetFieldValue<DateTimeOffset>(6));
        return new(
            reader.GetGuid(0), confirmation is null ? reader.GetGuid(1) : null, reader.GetInt32(2), EnumWords<MessageStatus>.Parse(reader.GetString(3)),
            values["email"], values, token, confirmation);
    }

    /// <summary>The server took the mail: the row and, of a campaign's, the event in one transaction.</summary>
    /// <param name="campaign">Null of a confirmation.</param>
    public async Task RecordSentAsync(ClaimedMessage claimed, SentCampaign? campaign, string subject, CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<CampaignsDb>();
        var message = await db.Messages.FirstAsync(m => m.Id == claimed.Id, ct);
        if (message.MarkSent(clock.GetUtcNow()))
        {
            if (campaign is not null)
            {
                db.Publish(message, message.Sent(campaign.Name, subject, campaign.AskedGroups));
            }

            await db.SaveChangesAsync(ct);
        }
    }

    /// <summary>Any end but sent.</summary>
    public Task RecordEndAsync(ClaimedMessage claimed, MessageStatus status, MessageReason reason, int? smtpCode, CancellationToken ct) => ExecuteAsync(
        """
        UPDATE messages SET status = @status, reason = @reason, smtp_code = @code, finished_at = now(), lease_until = NULL
        WHERE id = @id AND attempts = @attempts AND status = 'sending'
        """,
        claimed, smtpCode, ct,
        new("status", status.ToWord()), new("reason", reason.ToWord()));

    /// <summary>The mail was certainly not taken: waiting again, longer each time, until it is too late.</summary>
    public Task RecordDeferralAsync(ClaimedMessage claimed, int? smtpCode, CancellationToken ct) => ExecuteAsync(
        """
        UPDATE messages SET
            status = CASE WHEN created_at < now() - @longest THEN 'failed' ELSE 'pending' END,
            reason = CASE WHEN created_at < now() - @longest THEN 'deferred_too_long' END,
            finished_at = CASE WHEN created_at < now() - @longest THEN now() END,
            next_at = now() + least(power(2, least(attempts, 10)), 300) * (0.75 + random() / 2) * interval '1 second',
            smtp_code = @code, lease_until = NULL
        WHERE id = @id AND attempts = @attempts AND status = 'sending'
        """,
        claimed, smtpCode, ct,
        new NpgsqlParameter<TimeSpan>("longest", LongestDeferral));

    /// <summary>The connection broke before the mail began, which says nothing about this mail.</summary>
    public Task RecordNotSentAsync(ClaimedMessage claimed, CancellationToken ct) => ExecuteAsync(
        """
        UPDATE messages SET status = 'pending', next_at = now(), smtp_code = @code, lease_until = NULL
        WHERE id = @id AND attempts = @attempts AND status = 'sending'
        """,
        claimed, null, ct);

    private async Task ExecuteAsync(string sql, ClaimedMessage claimed, int? smtpCode, CancellationToken ct, params NpgsqlParameter[] more)
    {
        await using var command = dataSource.CreateCommand(sql);
        command.Parameters.Add(new NpgsqlParameter<Guid>("id", claimed.Id));
        command.Parameters.Add(new NpgsqlParameter<int>("attempts", claimed.Attempts));
        command.Parameters.Add(new NpgsqlParameter("code", NpgsqlTypes.NpgsqlDbType.Integer) { Value = (object?)smtpCode ?? DBNull.Value });
        command.Parameters.AddRange(more);
        await command.ExecuteNonQueryAsync(ct);
    }
}

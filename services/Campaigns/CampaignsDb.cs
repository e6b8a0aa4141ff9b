using Crm.Campaigns.Domain.Campaigns;
using Crm.Campaigns.Domain.Segments;
using Crm.Campaigns.Features.Sending;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.CustomerCopy;
using Crm.CustomerCopy.Projections;
using Crm.Hosting.Data;
using Crm.Hosting.Erasure;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns;

internal sealed class CampaignsDb(DbContextOptions<CampaignsDb> options) : CustomerCopyDb(options)
{
    /// <summary>Names of constraints that handlers catch.</summary>
    public const string CampaignSegmentKey = "campaigns_segment_fkey";

    public DbSet<Segment> Segments => Set<Segment>();
    public DbSet<Campaign> Campaigns => Set<Campaign>();
    public DbSet<Message> Messages => Set<Message>();

    public override IReadOnlyList<OwnedRows> OwnedRows { get; } =
    [
        new("messages", new("message", Ids.Message, "created_at"), Alike: "campaign_id, channel"),
        new("orders", Copied: true),
        new("cases", Copied: true),
        new("interactions", Copied: true),
    ];

    /// <summary>That they were written to is no use that they made; a link that they followed is one.</summary>
    public override IReadOnlyList<UseRows> Uses { get; } = [new("messages", "link_used_at", "message_due", "status IN ('pending', 'sending')")];

    public override IReadOnlyList<ReplayedRows> Replayed =>
    [
        ReplayedRows.Of(
            Messages.Where(m => m.Kind == MessageKind.Campaign && m.Status == MessageStatus.Sent), "messages", typeof(MessageSent), (messages, ct) => this.TellSentAsync(messages, ct),
            // After a restore nobody here knows any more whether these were sent: an entry says that they were.
            untold: Messages.Where(m => m.Kind == MessageKind.Campaign && m.Status == MessageStatus.Uncertain)),
    ];

    /// <summary>The ledger of campaigns keeps its rows, so that their counts stay true; nothing in them leads to a person.</summary>
    public override IReadOnlyList<ErasureStep> ErasureSteps =>
    [
        .. base.ErasureSteps,
        // Before the addresses: a sender who has one of these rows is waited for.
        new("messages", $"UPDATE messages SET link_hash = NULL WHERE {CustomerCopy.OwnedRows.OfErased} AND kind = 'campaign' RETURNING id", Ids.Message, Kept: true),
        new("campaign_addresses", $"DELETE FROM campaign_addresses WHERE message_id IN (SELECT id FROM messages WHERE {CustomerCopy.OwnedRows.OfErased})"),
        new("messages", $"DELETE FROM messages WHERE {CustomerCopy.OwnedRows.OfErased} AND kind = 'confirmation' RETURNING id", Ids.Message),
        // Sent to a mailbox of theirs in the name of somebody else, who was merged with one of them then or had the address, and
        // has not got it since: this may come late.
        new("messages", $"""
            UPDATE messages m SET link_hash = NULL FROM campaign_addresses a WHERE a.message_id = m.id AND {IsTheirMailbox}
                -- One that also went to the mailbox of who is there keeps the link in it.
                AND NOT EXISTS (SELECT FROM campaign_addresses o JOIN customers c ON c.id IN (m.customer_id, m.origin_customer_id) WHERE o.message_id = m.id AND lower(c.primary_email) = o.address)
            RETURNING m.id
            """, Ids.Message, Kept: true),
        new("campaign_addresses", $"DELETE FROM campaign_addresses a USING messages m WHERE a.message_id = m.id AND {IsTheirMailbox}"),
        new("messages", $"""
            DELETE FROM messages m
            WHERE m.kind = 'confirmation' AND m.confirms_id IS NOT NULL AND cardinality(@mailboxes) > 0
                AND mailbox_digest(m.to_address) IN (SELECT decode(d, 'hex') FROM unnest(@mailboxes) AS d) AND {NotNow("m.to_address")}
            RETURNING m.id
            """, Ids.Message),
        new("orders", $"DELETE FROM orders WHERE {CustomerCopy.OwnedRows.OfErased}"),
        new("cases", $"DELETE FROM cases WHERE {CustomerCopy.OwnedRows.OfErased}"),
        new("interactions", $"DELETE FROM interactions WHERE {CustomerCopy.OwnedRows.OfErased}"),
    ];

    private static readonly string IsTheirMailbox = $"mailbox_digest(a.address) IN (SELECT decode(d, 'hex') FROM unnest(@mailboxes) AS d) AND {NotNow("a.address")}";

    private static string NotNow(string address) =>
        $"NOT EXISTS (SELECT FROM customers c WHERE c.id IN (m.customer_id, m.origin_customer_id) AND lower(c.primary_email) = lower({address}))";

    /// <summary>Mails that had not left when the backup was taken may have left afterwards: nobody gets one twice.</summary>
    public override IReadOnlyList<(string Statement, string Meaning)> RestoreSteps { get; } =
    [
        ("UPDATE messages SET status = 'uncertain', reason = 'sender_lost', finished_at = now(), lease_until = NULL WHERE status IN ('pending', 'sending')",
            "mails that may have been sent after the backup are uncertain now and are not sent"),
    ];

    public override IReadOnlyList<PersonalTable> PersonalTables =>
    [
        .. base.PersonalTables,
        new("messages", $"""
            SELECT to_jsonb(t) - 'event_sequence' - 'link_hash' - 'lease_until' - 'next_at' || jsonb_build_object('campaign', c.name, 'subject', c.subject)
            FROM messages t LEFT JOIN campaigns c ON c.id = t.campaign_id WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY t.id
            """, Ids.Message),
        new("campaign_addresses", $"SELECT to_jsonb(t) - 'message_id' FROM campaign_addresses t WHERE message_id IN (SELECT id FROM messages WHERE {CustomerCopy.OwnedRows.OfErased}) ORDER BY campaign_id, address"),
        new("refused_mailboxes", """
            SELECT to_jsonb(t) - 'digest' FROM refused_mailboxes t
            WHERE t.digest IN (SELECT sha256(convert_to(lower(c.primary_email), 'UTF8')) FROM customers c WHERE c.id = ANY (@ids)) ORDER BY t.digest, t.purpose
            """),
        new("order_facts", $"SELECT to_jsonb(t) - 'id' FROM orders t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY t.id"),
        new("case_facts", $"SELECT to_jsonb(t) - 'id' FROM cases t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY t.id"),
        new("interaction_facts", $"SELECT to_jsonb(t) - 'id' FROM interactions t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY t.id"),
    ];

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder)
    {
        base.ConfigureConventions(configurationBuilder);
        configurationBuilder.EnumAsWord<MessageChannel>();
        configurationBuilder.EnumAsWord<MessageKind>();
        configurationBuilder.EnumAsWord<MessageStatus>();
        configurationBuilder.EnumAsWord<MessageReason>();
    }

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        modelBuilder.Entity<Segment>(segment =>
        {
            segment.ToTable("segments");
            segment.Property(s => s.Id).ValueGeneratedNever();
            segment.Property(s => s.Version).IsConcurrencyToken();
            segment.Property(s => s.Definition).AsJson().HasColumnType("json");
        });
        modelBuilder.Entity<Campaign>(campaign =>
        {
            campaign.ToTable("campaigns");
            campaign.Property(c => c.Id).ValueGeneratedNever();
            campaign.Property(c => c.Version).IsConcurrencyToken();
            campaign.Property(c => c.Definition).HasColumnType("json");
        });
        modelBuilder.Entity<Message>(message =>
        {
            message.ToTable("messages");
            KeepToRows(message);
            message.Property(m => m.Id).ValueGeneratedNever();
            message.Property(m => m.Status).IsConcurrencyToken();
        });
    }
}

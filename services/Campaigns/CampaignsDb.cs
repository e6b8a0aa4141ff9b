using Crm.Campaigns.Domain.Campaigns;
using Crm.Campaigns.Domain.Segments;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Data;
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
        new("orders"),
        new("cases"),
        new("interactions"),
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

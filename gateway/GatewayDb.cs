using Crm.Gateway.Domain;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;

namespace Crm.Gateway;

/// <summary>The gateway's own database: keys and quotas.</summary>
internal sealed class GatewayDb(DbContextOptions<GatewayDb> options) : CrmDbContext(options)
{
    public DbSet<ApiKey> Keys => Set<ApiKey>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        modelBuilder.Entity<ApiKey>(key =>
        {
            key.ToTable("api_key");
            key.Property(k => k.Id).ValueGeneratedNever();
            key.Property(k => k.RowFilter!).AsJson();
        });
    }
}

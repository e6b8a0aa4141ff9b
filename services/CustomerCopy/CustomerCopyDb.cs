using System.Text.Json;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;
using Npgsql;
using NpgsqlTypes;

namespace Crm.CustomerCopy;

/// <summary>A service's database with the copy of customers in it.</summary>
public abstract class CustomerCopyDb(DbContextOptions options) : CrmDbContext(options)
{
    public DbSet<Customer> Customers => Set<Customer>();
    public DbSet<CustomerConsent> CustomerConsents => Set<CustomerConsent>();

    /// <summary>Stores the snapshots that are newer than the rows; many in one statement.</summary>
    internal async Task StoreAsync(IReadOnlyCollection<CustomerSnapshot> snapshots, CancellationToken ct)
    {
        var rows = JsonSerializer.Serialize(snapshots.Select(s => new
        {
            id = Parse(s.Id),
            s.Version,
            s.Kind,
            display_name = s.DisplayName,
            given_name = s.GivenName,
            family_name = s.FamilyName,
            primary_email = s.PrimaryEmail,
            s.Country,
            s.Locale,
            time_zone = s.TimeZone,
            s.Lifecycle,
            s.Tier,
            s.Department,
            s.Attributes,
            s.State,
            survivor_id = s.SurvivorId is { } survivor ? Parse(survivor) : (Guid?)null,
            created_at = s.CreatedAt,
            updated_at = s.UpdatedAt,
        }), EventJson);
        await ExecuteAsync("""
            INSERT INTO customers
            SELECT * FROM jsonb_populate_recordset(NULL::customers, @rows)
            ON CONFLICT (id) DO UPDATE SET
                version = excluded.version, kind = excluded.kind, display_name = excluded.display_name,
                given_name = excluded.given_name, family_name = excluded.family_name, primary_email = excluded.primary_email,
                country = excluded.country, locale = excluded.locale, time_zone = excluded.time_zone,
                lifecycle = excluded.lifecycle, tier = excluded.tier, department = excluded.department,
                attributes = excluded.attributes, state = excluded.state, survivor_id = excluded.survivor_id,
                created_at = excluded.created_at, updated_at = excluded.updated_at
            WHERE customers.version < excluded.version
            """, rows, ct);
    }

    internal async Task StoreAsync(IReadOnlyCollection<ConsentRecorded> consents, CancellationToken ct)
    {
        var rows = JsonSerializer.Serialize(consents.Select(c => new
        {
            customer_id = Parse(c.CustomerId),
            c.Channel,
            c.Purpose,
            c.State,
            c.Version,
            c.At,
        }), EventJson);
        await ExecuteAsync("""
            INSERT INTO customer_consents
            SELECT * FROM jsonb_populate_recordset(NULL::customer_consents, @rows)
            ON CONFLICT (customer_id, channel, purpose) DO UPDATE SET
                state = excluded.state, version = excluded.version, at = excluded.at
            WHERE customer_consents.version < excluded.version
            """, rows, ct);
    }

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        modelBuilder.Entity<Customer>(customer =>
        {
            customer.ToTable("customers");
            customer.Property(c => c.Id).ValueGeneratedNever();
        });
        modelBuilder.Entity<CustomerConsent>(consent =>
        {
            consent.ToTable("customer_consents");
            consent.HasKey(c => new { c.CustomerId, c.Channel, c.Purpose });
        });
    }

    private static readonly JsonSerializerOptions EventJson = new(JsonSerializerDefaults.Web);

    private static Guid Parse(string id) => Ids.Customer.TryParse(id, out var guid) ? guid : throw new FormatException($"'{id}' is not a customer id.");

    private Task ExecuteAsync(string sql, string rows, CancellationToken ct) =>
        Database.ExecuteSqlRawAsync(sql, [new NpgsqlParameter("rows", NpgsqlDbType.Jsonb) { Value = rows }], ct);
}

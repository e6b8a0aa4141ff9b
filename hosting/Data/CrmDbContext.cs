using System.Diagnostics;
using System.Text.Json;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Rights;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Npgsql;

namespace Crm.Hosting.Data;

/// <summary>A row whose events are published in the order of <see cref="EventSequence"/>.</summary>
public interface IAggregate
{
    Guid Id { get; }

    /// <summary>Counts this row's events; advanced by <see cref="CrmDbContext.Publish"/>.</summary>
    long EventSequence { get; set; }
}

/// <summary>
/// A service's database: its own sets, and the outbox that events are saved to.
/// <code>db.Publish(order, order.Recorded()); await db.SaveChangesAsync(ct);</code>
/// </summary>
public abstract class CrmDbContext(DbContextOptions options) : DbContext(options)
{
    internal const int Partitions = 64;

    private const string OutboxSequenceKey = "outbox_aggregate_id_aggregate_seq_key";

#pragma warning disable CA1822 // Members of the context are read anew for each query, static ones once for all.
    /// <summary>For query filters: whose rows the caller at hand sees (<see cref="RowFilter"/>); work of the service's own sees all.</summary>
    protected bool AllRows => CallerRights.Current.Rows is null;

    /// <inheritdoc cref="AllRows"/>
    protected List<string> RowDepartments => CallerRights.Current.Rows?.Departments ?? [];

    /// <inheritdoc cref="AllRows"/>
    protected string? RowAttributes => CallerRights.Current.Rows?.Attributes;

    /// <summary>For query filters: whether the caller at hand sees the records of all departments; if not, of <see cref="UnseenDepartments"/> those granted one by one.</summary>
    protected bool AllDepartments => CallerRights.Current.UnseenDepartments.Count == 0;

    /// <inheritdoc cref="AllDepartments"/>
    protected List<string> UnseenDepartments => CallerRights.Current.UnseenDepartments;

    /// <inheritdoc cref="AllDepartments"/>
    protected List<string> CallerDepartments => [.. CallerRights.Current.GranteeDepartments];
#pragma warning restore CA1822

    /// <summary>For query filters: until when a grant holds.</summary>
    protected DateTimeOffset Now => this.GetService<TimeProvider>().GetUtcNow();

    internal DbSet<OutboxMessage> Outbox => Set<OutboxMessage>();

    /// <summary>Who did what; written by <see cref="AuditTrail.Audit"/>.</summary>
    public DbSet<AuditEntry> AuditEntries => Set<AuditEntry>();

    /// <summary>What an erasure does in this service, in this order; its one list.</summary>
    public virtual IReadOnlyList<Erasure.ErasureStep> ErasureSteps => [];

    /// <summary>Statements for a database that was restored, before its service starts, and what each counts: for what happened outside meanwhile.</summary>
    public virtual IReadOnlyList<(string Statement, string Meaning)> RestoreSteps => [];

    /// <summary>What an export of a person has of this service; the history of its records comes with it.</summary>
    public virtual IReadOnlyList<Erasure.PersonalTable> PersonalTables => [];

    /// <inheritdoc cref="Erasure.PersonalTables.History"/>
    public virtual Erasure.PersonalTable PersonalHistory => Erasure.PersonalTables.History;

    /// <summary>What holds now of what other departments have granted these in all of their records.</summary>
    public virtual Task<IReadOnlyList<DepartmentGrant>> ReadGrantsAsync(IReadOnlyList<string> departments, CancellationToken ct) =>
        Task.FromResult<IReadOnlyList<DepartmentGrant>>([]);

    /// <summary>Adds the event to the outbox; it leaves the service only when the transaction commits.</summary>
    public void Publish(IAggregate aggregate, object integrationEvent) => Outbox.Add(Compose(aggregate, integrationEvent));

    /// <summary>The same for many, written at once inside the transaction at hand.</summary>
    public Task PublishAsync(IEnumerable<(IAggregate Aggregate, object Event)> events, CancellationToken ct) =>
        this.CopyAsync([.. events.Select(e => Compose(e.Aggregate, e.Event))], ct);

    private static OutboxMessage Compose(IAggregate aggregate, object integrationEvent)
    {
        var route = EventCatalog.Of(integrationEvent.GetType());
        using var activity = Telemetry.Messaging.StartActivity($"create {route.Exchange}", ActivityKind.Producer);
        var message = new OutboxMessage
        {
            Id = Guid.CreateVersion7(),
            AggregateId = aggregate.Id,
            AggregateSeq = ++aggregate.EventSequence,
            Partition = (short)(Math.Abs(aggregate.Id.GetHashCode() % Partitions)),
            Type = route.Name,
            Payload = JsonSerializer.Serialize(integrationEvent, integrationEvent.GetType(), EventJson.Options),
            Traceparent = Activity.Current?.Id,
            Tracestate = Activity.Current?.TraceStateString,
            Baggage = TraceHeaders.FormatBaggage(Activity.Current),
        };
        activity?.SetTag("messaging.system", "rabbitmq")
            .SetTag("messaging.operation.name", "create")
            .SetTag("messaging.operation.type", "create")
            .SetTag("messaging.destination.name", route.Exchange)
            .SetTag("messaging.message.id", message.Id);
        return message;
    }

    /// <summary>
    /// Runs <paramref name="work"/> in the ambient transaction when there is one (idempotent request,
    /// consumer), else in one of its own.
    /// </summary>
    public async Task<T> InTransactionAsync<T>(Func<Task<T>> work, CancellationToken ct)
    {
        if (Database.CurrentTransaction is not null)
        {
            return await work();
        }

        await using var transaction = await Database.BeginTransactionAsync(ct);
        var result = await work();
        await transaction.CommitAsync(ct);
        return result;
    }

    /// <summary>Holds a transaction-scoped advisory lock on each text; in one order, so that writers cannot deadlock.</summary>
    public Task LockAsync(IEnumerable<string> texts, CancellationToken ct)
    {
        var ordered = texts.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).ToArray();
        return ordered.Length == 0
            ? Task.CompletedTask
            : Database.ExecuteSqlAsync(
                $"SELECT pg_advisory_xact_lock(k) FROM (SELECT DISTINCT hashtextextended(t, 0) AS k FROM unnest({ordered}) AS t ORDER BY 1) AS keys", ct);
    }

    /// <exception cref="DbUpdateConcurrencyException">Somebody else changed an aggregate meanwhile.</exception>
    public override async Task<int> SaveChangesAsync(bool acceptAllChangesOnSuccess, CancellationToken cancellationToken = default)
    {
        try
        {
            return await base.SaveChangesAsync(acceptAllChangesOnSuccess, cancellationToken);
        }
        catch (DbUpdateException exception) when (exception.InnerException is PostgresException { ConstraintName: OutboxSequenceKey })
        {
            // The other writer's event has this number: its change of the aggregate came first.
            throw new DbUpdateConcurrencyException("Somebody else changed the aggregate meanwhile.", exception);
        }
    }

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        modelBuilder.Entity<OutboxMessage>(outbox =>
        {
            outbox.ToTable("outbox");
            outbox.Property(m => m.Id).ValueGeneratedNever();
            outbox.Property(m => m.Payload).HasColumnType("jsonb");
        });
        modelBuilder.Entity<AuditEntry>(entry =>
        {
            entry.ToTable("audit_entry");
            entry.Property(e => e.Id).ValueGeneratedNever();
            entry.HasOne(e => e.Value).WithOne().HasForeignKey<AuditValue>(v => v.EntryId);
        });
        modelBuilder.Entity<AuditValue>(value =>
        {
            value.ToTable("audit_value");
            value.HasKey(v => v.EntryId);
        });
    }

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder) =>
        configurationBuilder.Conventions.Add(_ => new SnakeCaseColumns());
}

/// <summary>An event that is committed and not yet confirmed by the broker. Read and removed by the relay only.</summary>
internal sealed class OutboxMessage
{
    public required Guid Id { get; init; }
    public required Guid AggregateId { get; init; }
    public required long AggregateSeq { get; init; }
    public required short Partition { get; init; }
    public required string Type { get; init; }
    public required string Payload { get; init; }
    public string? Traceparent { get; init; }
    public string? Tracestate { get; init; }
    public string? Baggage { get; init; }
}

using Crm.Contracts.Events;
using Crm.Hosting.Messaging;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;

namespace Crm.Hosting.Data;

/// <summary>
/// <c>--after-restore</c>: what a service needs between the restore of its database and its next start (docs/backup.md).
/// Run again, it changes nothing more.
/// </summary>
internal sealed class AfterRestore(CrmDbContext db, ServiceName service, IServiceProvider services)
{
    public async Task RunAsync(TextWriter output, CancellationToken ct)
    {
        // The inbox of a busy fortnight is large.
        db.Database.SetCommandTimeout(TimeSpan.Zero);
        await using (var transaction = await db.Database.BeginTransactionAsync(ct))
        {
            // What the backup found waiting is published anew at once. Whoever has had it knows it by the inbox, whose rows
            // are kept for a fortnight from now and not from the time of the backup.
            await db.Database.ExecuteSqlAsync($"UPDATE outbox SET next_at = now(), attempts = 0 WHERE attempts > 0 OR next_at > now()", ct);
            await db.Database.ExecuteSqlAsync($"UPDATE inbox SET received_at = now()", ct);
            foreach (var (statement, meaning) in db.RestoreSteps)
            {
                var rows = await db.Database.ExecuteSqlRawAsync(statement, ct);
                if (rows > 0)
                {
                    await output.WriteLineAsync($"{rows} {meaning}");
                }
            }

            await transaction.CommitAsync(ct);
        }

        // The gateway has no bus.
        if (services.GetService<OutboxRelay>() is not null)
        {
            await EmptyQueuesAsync(services.GetRequiredService<IOptions<BusOptions>>().Value, ct);
        }
    }

    /// <summary>Messages from after the backup tell of rows that are no more; those from before it have had their effect.</summary>
    private async Task EmptyQueuesAsync(BusOptions options, CancellationToken ct)
    {
        await using var connection = await options.Connections($"{service.Value} restore").CreateConnectionAsync(ct);
        await using var channel = await connection.CreateChannelAsync(cancellationToken: ct);
        var prefix = $"crm.{service.Value}.";
        foreach (var queue in EventCatalog.All.SelectMany(r => r.Queues).Where(q => q.StartsWith(prefix, StringComparison.Ordinal)).Distinct(StringComparer.Ordinal))
        {
            await channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false, cancellationToken: ct);
            await channel.QueuePurgeAsync(queue, ct);
        }
    }
}

using Crm.Contracts.Events;
using Crm.Hosting.Data;
using MassTransit;
using MassTransit.RabbitMqTransport;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Npgsql;

namespace Crm.Hosting.Messaging;

/// <summary>What a service receives; queues are <c>crm.&lt;service&gt;.&lt;name&gt;</c>.</summary>
public sealed class BusConsumers
{
    internal List<(string Name, Type Consumer)> Consumers { get; } = [];

    /// <summary>
    /// A queue and its consumer. The consumer runs inside a transaction that already holds the inbox row:
    /// a redelivered message never reaches it, and an exception rolls everything back. Messages for which it is an
    /// <see cref="IBatchConsumer{TMessage}"/> are given to it together when they come together; no other queue of the program
    /// may have them.
    /// </summary>
    public void Consume<TConsumer>(string name) where TConsumer : class, IConsumer => Consumers.Add((name, typeof(TConsumer)));

    /// <summary>
    /// Publishers bind queues by the catalogue: an event that it does not list for a queue would be lost while the consumer has
    /// never run, and one that nobody reads would go from the queue to the dead letters.
    /// </summary>
    /// <exception cref="InvalidOperationException">The service's consumers read something else than the catalogue says.</exception>
    internal void RequireCatalogue(string service)
    {
        var listed = EventCatalog.All.SelectMany(r => r.Queues.Select(q => (Queue: q, r.Type)))
            .Where(l => l.Queue.StartsWith($"crm.{service}.", StringComparison.Ordinal)).ToHashSet();
        var read = Consumers.SelectMany(c => MessagesOf(c.Consumer).Select(m => (Queue: $"crm.{service}.{c.Name}", Type: m))).ToHashSet();
        var problems = listed.Except(read).Select(l => $"no consumer of {l.Queue} reads {l.Type.Name}")
            .Concat(read.Except(listed).Select(r => $"{r.Queue} reads {r.Type.Name}, which the catalogue does not list for it"))
            .ToArray();
        if (problems.Length > 0)
        {
            throw new InvalidOperationException($"The consumers are not those of the event catalogue: {string.Join("; ", problems)}.");
        }
    }

    private static IEnumerable<Type> MessagesOf(Type consumer) =>
        consumer.GetInterfaces().Where(i => i.IsGenericType && i.GetGenericTypeDefinition() == typeof(IConsumer<>)).Select(i => i.GetGenericArguments()[0]);
}

internal static class Bus
{
    public static void AddCrmBus<TDb>(this IHostApplicationBuilder builder, string service, Action<BusConsumers>? configure) where TDb : CrmDbContext
    {
        var consumers = new BusConsumers();
        configure?.Invoke(consumers);
        consumers.RequireCatalogue(service);
        RequireOneQueueOfBatches(consumers);

        builder.Services.AddSettings<BusOptions>("Bus");
        builder.Services.AddSingleton<DeadLetters>();
        builder.Services.AddSingleton<OutboxRelay>();
        builder.Services.AddHostedService(p => p.GetRequiredService<OutboxRelay>());
        builder.Services.AddHostedService<Janitor>();
        builder.Services.AddHostedService<ConsumerBus>();
        builder.Services.AddSingleton(typeof(InboxBatches<>));
        builder.Services.AddMassTransit(masstransit =>
        {
            foreach (var (_, consumer) in consumers.Consumers)
            {
                masstransit.AddConsumer(consumer);
                foreach (var batch in BatchesOf(consumer))
                {
                    builder.Services.AddScoped(batch, provider => provider.GetRequiredService(consumer));
                }
            }
        });
        builder.Services.RemoveMassTransitHostedService();
        builder.Services.AddSingleton<ConfigureBus>((context, bus) => Configure(context, bus, service, consumers));
    }

    private static void Configure(IBusRegistrationContext context, IRabbitMqBusFactoryConfigurator bus, string service, BusConsumers consumers)
    {
        var options = context.GetRequiredService<Microsoft.Extensions.Options.IOptions<BusOptions>>().Value;
        var deadLetters = context.GetRequiredService<DeadLetters>();
        bus.Host(options.Address, service, host =>
        {
            if (options.IsEncrypted)
            {
                host.UseSsl(ssl =>
                {
                    ssl.ServerName = options.Address.Host;
                    ssl.Protocol = System.Security.Authentication.SslProtocols.None;
                    ssl.CertificateValidationCallback = options.Trust();
                });
            }
        });
        bus.MessageTopology.SetEntityNameFormatter(new ExchangeNames());
        bus.AutoStart = true;
        foreach (var (name, consumer) in consumers.Consumers)
        {
            var queue = $"crm.{service}.{name}";
            InboxMetrics.Duplicates.Add(0, new KeyValuePair<string, object?>("consumer", queue));
            bus.ReceiveEndpoint(queue, endpoint =>
            {
                var batched = BatchesOf(consumer).Any();
                endpoint.PrefetchCount = batched ? 2 * InboxBatches<object>.Most : options.Prefetch;
                endpoint.ConcurrentMessageLimit = batched ? InboxBatches<object>.Most : options.Concurrency;
                endpoint.PublishFaults = false;
                endpoint.ConfigureError(e => e.UseFilter(new UnreadFilter(queue, deadLetters)));
                endpoint.ConfigureDeadLetter(d => d.UseFilter(new UnreadFilter(queue, deadLetters)));
                endpoint.UseFilter(new ReceiveFilter(queue, deadLetters, context.GetRequiredService<TimeProvider>()));
                // The database or a peer is away: wait for it, for ever; nothing is counted. (Interval would make
                // an array of all its pauses.)
                endpoint.UseMessageRetry(r =>
                {
                    r.Handle<Exception>(Transient.Is);
                    r.Incremental(int.MaxValue, TimeSpan.FromSeconds(1), TimeSpan.Zero);
                });
                endpoint.UseMessageRetry(r =>
                {
                    r.Ignore<Exception>(Transient.Is);
                    r.Exponential(DeadLetters.Retries, TimeSpan.FromMilliseconds(50), TimeSpan.FromSeconds(5), TimeSpan.FromMilliseconds(100));
                });
                endpoint.UseConsumeFilter(typeof(InboxFilter<>), context);
                endpoint.ConfigureConsumer(context, consumer);
            });
        }
    }

    /// <summary>What comes together is known by its message alone: a second queue would get the first one's effect instead of its own.</summary>
    private static void RequireOneQueueOfBatches(BusConsumers consumers)
    {
        foreach (var message in consumers.Consumers.SelectMany(c => BatchesOf(c.Consumer)).Select(b => b.GetGenericArguments()[0]).Distinct())
        {
            var queues = consumers.Consumers.Where(c => c.Consumer.GetInterfaces().Contains(typeof(IConsumer<>).MakeGenericType(message))).Select(c => c.Name).ToArray();
            if (queues.Length > 1)
            {
                throw new InvalidOperationException($"{message.Name} is consumed in batches, so by one queue only; these have it: {string.Join(", ", queues)}.");
            }
        }
    }

    private static IEnumerable<Type> BatchesOf(Type consumer) =>
        consumer.GetInterfaces().Where(i => i.IsGenericType && i.GetGenericTypeDefinition() == typeof(IBatchConsumer<>));

    /// <summary>The exchange of an event is its written name, never its CLR type.</summary>
    private sealed class ExchangeNames : IEntityNameFormatter
    {
        public string FormatEntityName<T>() => typeof(T).IsDefined(typeof(EventNameAttribute), inherit: false)
            ? EventCatalog.Of(typeof(T)).Exchange
            : $"crm.internal.{typeof(T).Name}";
    }
}

public static class Transient
{
    /// <summary>A fault of the surroundings, such as a database that is away, not of the message or the work.</summary>
    public static bool Is(Exception exception) => exception switch
    {
        PostgresException { SqlState: PostgresErrorCodes.UniqueViolation } => false,
        NpgsqlException { IsTransient: true } => true,
        PostgresException { SqlState: PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown or PostgresErrorCodes.CannotConnectNow or PostgresErrorCodes.TooManyConnections } => true,
        NpgsqlException { InnerException: System.IO.IOException or System.Net.Sockets.SocketException or TimeoutException } => true,
        Grpc.Core.RpcException { StatusCode: Grpc.Core.StatusCode.Unavailable or Grpc.Core.StatusCode.DeadlineExceeded } => true,
        TimeoutException => true,
        // A connection that broke between two commands: Npgsql has disposed what the second one wants to reset, or ended the
        // transaction that it is given.
        ObjectDisposedException { StackTrace: { } trace } when trace.Contains("Npgsql.Internal.NpgsqlConnector", StringComparison.Ordinal) => true,
        InvalidOperationException { Source: "Npgsql", StackTrace: { } trace } when IsOfEndedTransaction(trace) => true,
        Microsoft.EntityFrameworkCore.DbUpdateException { InnerException: { } inner } => Is(inner),
        // So EF says of a failure after which it would be worth trying again, whatever it was doing.
        InvalidOperationException { InnerException: (NpgsqlException or Microsoft.EntityFrameworkCore.DbUpdateException) and var inner } => Is(inner),
        _ => false,
    };

    private static bool IsOfEndedTransaction(string trace) =>
        trace.Contains("Npgsql.NpgsqlCommand.set_DbTransaction", StringComparison.Ordinal) || trace.Contains("Npgsql.NpgsqlTransaction.", StringComparison.Ordinal);
}

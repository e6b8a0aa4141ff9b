using MassTransit;

namespace Crm.Hosting.Messaging;

/// <summary>
/// Takes the place of MassTransit's <c>_error</c> and <c>_skipped</c> queues: what no consumer could see goes onto
/// the one list that operators look at.
/// </summary>
internal sealed class UnreadFilter(string queue, DeadLetters deadLetters) : IFilter<ExceptionReceiveContext>, IFilter<ReceiveContext>
{
    public Task Send(ExceptionReceiveContext context, IPipe<ExceptionReceiveContext> next) =>
        deadLetters.KeepUnreadAsync(queue, context, context.Exception);

    public Task Send(ReceiveContext context, IPipe<ReceiveContext> next) =>
        deadLetters.KeepUnreadAsync(queue, context, new NotSupportedException("Nobody here reads this type of message."));

    public void Probe(ProbeContext context) => context.CreateFilterScope("unread");
}

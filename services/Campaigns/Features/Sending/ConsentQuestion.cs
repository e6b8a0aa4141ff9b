using System.Diagnostics;
using Crm.Campaigns.Domain.Campaigns;
using Crm.Campaigns.Features.Links;
using Crm.Contracts.Contacts.V1;
using Crm.Hosting;
using Grpc.Core;
using Ids = Crm.Contracts.Ids;

namespace Crm.Campaigns.Features.Sending;

/// <summary>A message that waits and is due.</summary>
internal sealed record DueMessage(Guid Id, Guid CustomerId, MessageKind Kind);

/// <summary>Some messages that were due, and what Contacts said of their customers just then.</summary>
/// <param name="Answers">Of each message: why it may not be sent; null when it may.</param>
/// <param name="At">Of the answer, by the monotonic clock.</param>
internal sealed record AskedMessages(IReadOnlyList<DueMessage> Messages, IReadOnlyList<MessageReason?> Answers, long At);

/// <summary>
/// Right before mails go out Contacts is asked for the consents of their customers, all those of a batch at once: the copy is
/// as old as the broker was away. No message is taken for that, so a question without an answer costs none of them anything:
/// they wait, and it is asked again. Who asked to be asked, a confirmation, has no consent yet and does not wait.
/// </summary>
internal sealed partial class ConsentQuestion(SendLedger ledger, Contacts.ContactsClient contacts, TimeProvider clock, ILogger<ConsentQuestion> logger) : IDisposable
{
    private const int Batch = 20;

    /// <summary>An answer that came longer ago is not gone by.</summary>
    private static readonly TimeSpan Fresh = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly SemaphoreSlim _one = new(1, 1);
    private AskedMessages? _last;
    private long? _unansweredAt;

    /// <summary>The batch that the lanes work on, or another one when that is <paramref name="used"/> up or too old; empty when there is nothing to send.</summary>
    public async Task<AskedMessages> AskAsync(AskedMessages? used, CancellationToken ct)
    {
        await _one.WaitAsync(ct);
        try
        {
            if (_last is { Messages.Count: > 0 } last && last != used && Stopwatch.GetElapsedTime(last.At) < Fresh)
            {
                return last;
            }

            using var quiet = QuietWork.Begin();
            return _last = await AskAsync(ct);
        }
        finally
        {
            _one.Release();
        }
    }

    public void Dispose() => _one.Dispose();

    private async Task<AskedMessages> AskAsync(CancellationToken ct)
    {
        var waits = _unansweredAt is { } since && Stopwatch.GetElapsedTime(since) < Patience;
        var due = await ledger.FindDueAsync(Batch, campaigns: !waits, ct);
        try
        {
            return new(due, await AnswersAsync(due, ct), Stopwatch.GetTimestamp());
        }
        catch (RpcException exception) when (ct.IsCancellationRequested)
        {
            throw new OperationCanceledException(exception.Message, exception, ct);
        }
        catch (RpcException exception)
        {
            _unansweredAt = Stopwatch.GetTimestamp();
            LogUnanswered(exception.StatusCode);
            DueMessage[] confirmations = [.. due.Where(m => m.Kind == MessageKind.Confirmation)];
            return new(confirmations, new MessageReason?[confirmations.Length], Stopwatch.GetTimestamp());
        }
    }

    private async Task<IReadOnlyList<MessageReason?>> AnswersAsync(IReadOnlyList<DueMessage> due, CancellationToken ct)
    {
        var request = new AskConsentsRequest { Channel = MailLinks.Email, Purposes = { MailLinks.Marketing } };
        request.CustomerIds.AddRange(due.Where(m => m.Kind == MessageKind.Campaign).Select(m => m.CustomerId).Distinct().Select(Ids.Customer.Format));
        if (request.CustomerIds.Count == 0)
        {
            return new MessageReason?[due.Count];
        }

        var granted = (await contacts.AskConsentsAsync(request, cancellationToken: ct)).Consents
            .Where(c => c.Purpose == MailLinks.Marketing).ToDictionary(c => Ids.Customer.Parse(c.CustomerId));
        _unansweredAt = null;
        var now = clock.GetUtcNow();
        return [.. due.Select(AnswerOf)];

        MessageReason? AnswerOf(DueMessage message)
        {
            if (message.Kind == MessageKind.Confirmation)
            {
                return null;
            }

            if (!granted.TryGetValue(message.CustomerId, out var consent))
            {
                return MessageReason.NoConsent;
            }

            return consent.PausedUntil?.ToDateTimeOffset() > now ? MessageReason.Paused : null;
        }
    }

    [LoggerMessage(LogLevel.Warning, "Contacts does not say who may be written to ({Status}); campaigns wait")]
    private partial void LogUnanswered(StatusCode status);
}

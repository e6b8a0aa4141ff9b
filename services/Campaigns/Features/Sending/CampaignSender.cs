using System.Collections.Concurrent;
using System.Diagnostics;
using Crm.Campaigns.Domain.Campaigns;
using Crm.Campaigns.Features.Campaigns;
using Crm.Hosting;
using Crm.Hosting.Messaging;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Campaigns.Features.Sending;

internal static class SendingServices
{
    public static void AddSending(this IServiceCollection services)
    {
        services.AddSettings<SmtpOptions>("Smtp");
        services.AddSettings<LinkOptions>("Links");
        services.AddSingleton<SendingSignal>();
        services.AddSingleton<SendLedger>();
        services.AddSingleton<ConsentQuestion>();
        services.AddHostedService<CampaignSender>();
    }
}

/// <summary>After a launch.</summary>
internal sealed class SendingSignal : WakeSignal;

/// <summary>
/// Sends what the ledger has, over a few connections at once; any number of replicas may run. A lane opens its
/// connection first and takes a message afterwards, so that a mail server that is away costs no message anything; nor does
/// Contacts, which is asked for consents before (<see cref="ConsentQuestion"/>).
/// Each lane holds one message: a process that dies leaves at most as many uncertain as it had connections.
/// </summary>
internal sealed partial class CampaignSender(
    SendLedger ledger, ConsentQuestion question, SendingSignal signal, IServiceScopeFactory scopes, IOptions<SmtpOptions> options, IOptions<LinkOptions> links, TimeProvider clock, ILogger<CampaignSender> logger) : BackgroundService
{
    private const int CachedTemplates = 32;

    /// <summary>Other lanes and replicas may have taken all of a batch, and of the next one.</summary>
    private const int MostBatches = 3;

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan CloseAfter = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(30);

    private static readonly System.Diagnostics.Metrics.Counter<long> Messages =
        Telemetry.Meter.CreateCounter<long>("crm.campaigns.messages", description: "Messages by what became of them");

    private readonly SmtpOptions _smtp = options.Value;
    private readonly ConcurrentBag<(SmtpConnection Connection, long Since)> _idle = [];
    private readonly ConcurrentDictionary<Guid, Lazy<Task<CampaignMail>>> _campaigns = new();
    private TimeSpan _pause;
    private long _pausedAt;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var lanes = new List<Task>();
        try
        {
            while (!stoppingToken.IsCancellationRequested)
            {
                lanes.RemoveAll(l => l.IsCompleted);
                if (await LookAsync(stoppingToken) && !IsPaused())
                {
                    while (lanes.Count < _smtp.Connections)
                    {
                        lanes.Add(Task.Run(() => RunLaneAsync(stoppingToken), CancellationToken.None));
                    }
                }

                await CloseIdleAsync(CloseAfter);
                await signal.WaitAsync(Poll, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Each lane ends with the message that it has.
        }

        await Task.WhenAll(lanes);
        await CloseIdleAsync(TimeSpan.Zero);
    }

    /// <summary>Whether there is something to send.</summary>
    private async Task<bool> LookAsync(CancellationToken ct)
    {
        try
        {
            using var quiet = QuietWork.Begin();
            if (await ledger.ExpireLeasesAsync(ct) is > 0 and var lost)
            {
                Messages.Add(lost, new KeyValuePair<string, object?>("status", "uncertain"));
                LogLost(lost);
            }

            return await ledger.AnyDueAsync(ct);
        }
        catch (Exception exception) when (!ct.IsCancellationRequested)
        {
            LogSkipped(Transient.Is(exception) ? null : exception, exception.Message);
            return false;
        }
    }

    private async Task RunLaneAsync(CancellationToken stopping)
    {
        SmtpConnection? connection = null;
        try
        {
            while (!stopping.IsCancellationRequested && !IsPaused())
            {
                connection ??= await TakeConnectionAsync(stopping);
                if (!await SendOneAsync(connection, stopping))
                {
                    break;
                }

                if (!connection.IsUsable)
                {
                    await connection.DisposeAsync();
                    connection = null;
                }
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // Nothing was taken.
        }
        catch (SmtpUnavailableException exception)
        {
            Pause();
            LogUnavailable(exception.Message, _pause.TotalSeconds);
        }
        catch (Exception exception)
        {
            Pause();
            LogFailed(exception);
        }
        finally
        {
            if (connection is { IsUsable: true })
            {
                _idle.Add((connection, Stopwatch.GetTimestamp()));
            }
            else if (connection is not null)
            {
                await connection.DisposeAsync();
            }
        }
    }

    /// <summary>False when there is nothing to send, or nothing of which it is known that it may be sent.</summary>
    private async Task<bool> SendOneAsync(SmtpConnection connection, CancellationToken stopping)
    {
        AskedMessages? asked = null;
        for (var batch = 0; batch < MostBatches; batch++)
        {
            asked = await question.AskAsync(asked, stopping);
            if (asked.Messages.Count == 0)
            {
                return false;
            }

            if (await SendOneOfAsync(asked, connection, stopping))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>False when others have taken them all.</summary>
    private async Task<bool> SendOneOfAsync(AskedMessages asked, SmtpConnection connection, CancellationToken stopping)
    {
        using var activity = Telemetry.Messaging.StartActivity("send campaign message", ActivityKind.Producer, parentContext: default);
        var claimed = await ledger.ClaimAsync(asked, _smtp.LeaseSeconds, _smtp.Sender.Host, stopping);
        if (claimed is null)
        {
            if (activity is not null)
            {
                activity.ActivityTraceFlags &= ~ActivityTraceFlags.Recorded;
                activity.IsAllDataRequested = false;
            }

            return false;
        }

        activity?.SetTag("crm.message_id", Contracts.Ids.Message.Format(claimed.Id));
        var status = claimed.Status;
        if (status == MessageStatus.Sending)
        {
            // From here on the process's end is no reason to stop half-way: the steps have limits of their own.
            status = await DeliverAsync(connection, claimed, activity);
        }

        activity?.SetTag("crm.message_status", Hosting.Data.EnumColumns.ToWord(status));
        Messages.Add(1, new KeyValuePair<string, object?>("status", Hosting.Data.EnumColumns.ToWord(status)));
        return true;
    }

    private async Task<MessageStatus> DeliverAsync(SmtpConnection connection, ClaimedMessage claimed, Activity? activity)
    {
        if (MailRecipient.Normalize(claimed.Address!) is not { } recipient)
        {
            return await EndAsync(claimed, MessageStatus.Suppressed, MessageReason.NoAddress);
        }

        WrittenMail mail;
        try
        {
            mail = await WriteAsync(claimed, recipient, activity);
        }
        catch (HandlebarsDotNet.HandlebarsException exception)
        {
            LogNotRendered(exception, Contracts.Ids.Message.Format(claimed.Id));
            return await EndAsync(claimed, MessageStatus.Failed, MessageReason.NotRendered);
        }
        catch (Exception exception)
        {
            LogFailed(exception);
            await RecordAsync(ct => ledger.RecordNotSentAsync(claimed, ct));
            Pause();
            return MessageStatus.Pending;
        }

        return await RecordOutcomeAsync(claimed, mail, await connection.SendAsync(_smtp.Sender.Address, recipient, mail.Data));
    }

    private async Task<WrittenMail> WriteAsync(ClaimedMessage claimed, string recipient, Activity? activity)
    {
        if (claimed.Confirmation is { } confirmation)
        {
            return Encode(claimed, recipient, ConfirmationMail.Write(confirmation, links.Value.Confirm(claimed.Token)), campaign: null, unsubscribe: null);
        }

        var campaign = await CampaignAsync(claimed.CampaignId!.Value);
        if (campaign.LaunchTrace is { } trace && ActivityContext.TryParse(trace, null, out var launched))
        {
            activity?.AddLink(new ActivityLink(launched));
        }

        var unsubscribe = links.Value.Unsubscribe(claimed.Token);
        var mail = campaign.Template.Render(new Dictionary<string, string?>(claimed.Values, StringComparer.Ordinal)
        {
            [CompiledTemplate.UnsubscribeUrl] = unsubscribe,
            [CompiledTemplate.PreferencesUrl] = links.Value.Preferences(claimed.Token),
        });
        return Encode(claimed, recipient, mail, campaign.Told, unsubscribe);
    }

    /// <param name="unsubscribe">Null in a confirmation, as is <paramref name="campaign"/>.</param>
    private WrittenMail Encode(ClaimedMessage claimed, string recipient, RenderedMail mail, SentCampaign? campaign, string? unsubscribe)
    {
        var data = MailWriter.Write(
            _smtp.Sender, recipient, claimed.Values["display_name"] ?? "", mail,
            Message.InternetMessageIdOf(claimed.Id, _smtp.Sender.Host), claimed.Id.ToString("N"), clock.GetUtcNow(), unsubscribe);
        return new(campaign, mail.Subject, data);
    }

    /// <summary>Writes down what the mail server made of the mail.</summary>
    private async Task<MessageStatus> RecordOutcomeAsync(ClaimedMessage claimed, WrittenMail mail, SmtpResult result)
    {
        switch (result.Outcome)
        {
            case SmtpOutcome.Accepted:
                _pause = TimeSpan.Zero;
                await RecordAsync(ct => ledger.RecordSentAsync(claimed, mail.Campaign, mail.Subject, ct));
                return MessageStatus.Sent;
            case SmtpOutcome.Refused:
                return await EndAsync(claimed, MessageStatus.Failed, MessageReason.Refused, result.Code);
            case SmtpOutcome.Uncertain:
                return await EndAsync(claimed, MessageStatus.Uncertain, MessageReason.NoAnswer, result.Code);
            case SmtpOutcome.Deferred:
                await RecordAsync(ct => ledger.RecordDeferralAsync(claimed, result.Code, ct));
                return MessageStatus.Pending;
            default:
                await RecordAsync(ct => ledger.RecordNotSentAsync(claimed, ct));
                if (result.Code is { } code)
                {
                    // Not this mail but the session is refused, such as 530: trying at once again would be a loop.
                    LogRefusedSession(code);
                    Pause();
                }

                return MessageStatus.Pending;
        }
    }

    /// <summary>The message has this status for good.</summary>
    private async Task<MessageStatus> EndAsync(ClaimedMessage claimed, MessageStatus status, MessageReason reason, int? smtpCode = null)
    {
        await RecordAsync(ct => ledger.RecordEndAsync(claimed, status, reason, smtpCode, ct));
        return status;
    }

    /// <summary>
    /// What happened must be written down: tries until the lease is over, after which the row is uncertain anyway.
    /// </summary>
    private async Task RecordAsync(Func<CancellationToken, Task> record)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(_smtp.LeaseSeconds), clock);
        while (true)
        {
            try
            {
                await record(limit.Token);
                return;
            }
            catch (Exception exception) when (!limit.IsCancellationRequested)
            {
                LogNotRecorded(Transient.Is(exception) ? null : exception, exception.Message);
                await Task.Delay(TimeSpan.FromSeconds(1), clock, CancellationToken.None);
            }
        }
    }

    private async Task<SmtpConnection> TakeConnectionAsync(CancellationToken ct)
    {
        while (_idle.TryTake(out var idle))
        {
            if (await idle.Connection.ProbeAsync(ct))
            {
                return idle.Connection;
            }

            await idle.Connection.DisposeAsync();
        }

        return await SmtpConnection.OpenAsync(_smtp, ct);
    }

    private async Task CloseIdleAsync(TimeSpan after)
    {
        var kept = new List<(SmtpConnection, long)>();
        while (_idle.TryTake(out var idle))
        {
            if (Stopwatch.GetElapsedTime(idle.Since) < after)
            {
                kept.Add(idle);
            }
            else
            {
                await idle.Connection.DisposeAsync();
            }
        }

        kept.ForEach(_idle.Add);
    }

    /// <summary>A launched campaign does not change any more, so its template is compiled once.</summary>
    private async Task<CampaignMail> CampaignAsync(Guid id)
    {
        if (_campaigns.Count >= CachedTemplates && !_campaigns.ContainsKey(id))
        {
            _campaigns.Clear();
        }

        var entry = _campaigns.GetOrAdd(id, key => new(() => LoadAsync(key)));
        try
        {
            return await entry.Value;
        }
        catch
        {
            _campaigns.TryRemove(new(id, entry));
            throw;
        }
    }

    private async Task<CampaignMail> LoadAsync(Guid id)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<CampaignsDb>();
        var campaign = await db.Campaigns.AsNoTracking().FirstAsync(c => c.Id == id);
        var told = new SentCampaign(campaign.Name, await db.LaunchedGroupsAsync(campaign, CancellationToken.None));
        return new(told, CompiledTemplate.Compile(new(campaign.Subject, campaign.Text, campaign.Html)), campaign.LaunchTrace);
    }

    /// <summary>Of several lanes that fail at once the first counts.</summary>
    private void Pause()
    {
        lock (_idle)
        {
            if (!IsPaused())
            {
                _pause = _pause == TimeSpan.Zero ? TimeSpan.FromSeconds(1) : TimeSpan.FromTicks(Math.Min(_pause.Ticks * 2, LongestPause.Ticks));
                _pausedAt = Stopwatch.GetTimestamp();
            }
        }
    }

    private bool IsPaused() => _pause > TimeSpan.Zero && Stopwatch.GetElapsedTime(_pausedAt) < _pause;

    private sealed record CampaignMail(SentCampaign Told, CompiledTemplate Template, string? LaunchTrace);

    /// <param name="Campaign">Null of a confirmation.</param>
    private sealed record WrittenMail(SentCampaign? Campaign, string Subject, byte[] Data);

    [LoggerMessage(LogLevel.Warning, "The mail server cannot be used ({Reason}); messages wait {Seconds} s")]
    private partial void LogUnavailable(string reason, double seconds);

    [LoggerMessage(LogLevel.Error, "The mail server refuses the session with {Code}; messages wait")]
    private partial void LogRefusedSession(int code);

    [LoggerMessage(LogLevel.Warning, "{Count} messages are uncertain: their sender died")]
    private partial void LogLost(int count);

    [LoggerMessage(LogLevel.Error, "Message {Id} cannot be rendered")]
    private partial void LogNotRendered(Exception exception, string id);

    [LoggerMessage(LogLevel.Warning, "The outcome of a message is not recorded yet: {Reason}")]
    private partial void LogNotRecorded(Exception? exception, string reason);

    [LoggerMessage(LogLevel.Warning, "The sender skipped a round: {Reason}")]
    private partial void LogSkipped(Exception? exception, string reason);

    [LoggerMessage(LogLevel.Error, "A sender's lane failed")]
    private partial void LogFailed(Exception exception);
}

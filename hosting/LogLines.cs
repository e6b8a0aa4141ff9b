using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Crm.Hosting.Messaging;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;
using OpenTelemetry;
using OpenTelemetry.Logs;

namespace Crm.Hosting;

/// <summary>
/// What a log record belongs to, in every form in which it leaves the process. Of scopes only the request's id is taken: that of a
/// request has its whole path, with what a link or a partner put there.
/// </summary>
internal readonly record struct LogOrigin(string? TraceId, string? SpanId, string? MessageId, string? Queue, string? RequestId)
{
    public static LogOrigin Of(object? state, IExternalScopeProvider? scopes)
    {
        var (activity, consumed, request) = (Activity.Current, ConsumedMessage.Current, new RequestScope());
        scopes?.ForEachScope(static (scope, found) => found.Id ??= Value(scope, "RequestId"), request);
        return new(activity?.TraceId.ToHexString(), activity?.SpanId.ToHexString(), MessageOf(state) ?? consumed?.Id, consumed?.Queue, request.Id);
    }

    /// <summary>The message that the record itself names; one that is published or put aside is not consumed.</summary>
    public static string? MessageOf(object? state) => Value(state, "MessageId");

    private static string? Value(object? state, string name)
    {
        if (state is IReadOnlyList<KeyValuePair<string, object?>> values)
        {
            for (var i = 0; i < values.Count; i++)
            {
                if (values[i].Key == name)
                {
                    return values[i].Value is { } value ? Convert.ToString(value, CultureInfo.InvariantCulture) : null;
                }
            }
        }

        return null;
    }

    private sealed class RequestScope
    {
        public string? Id { get; set; }
    }
}

/// <summary>
/// A JSON object a line, for the log collector of a cluster; trace and span are named as in OpenTelemetry's "Trace Context in
/// non-OTLP Log Formats".
/// </summary>
internal sealed class JsonLogLines(ServiceName service, TimeProvider clock) : ConsoleFormatter(FormatterName)
{
    public const string FormatterName = "crm-json";

    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public override void Write<TState>(in LogEntry<TState> logEntry, IExternalScopeProvider? scopeProvider, TextWriter textWriter)
    {
        var origin = LogOrigin.Of(logEntry.State, scopeProvider);
        var buffer = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(buffer, Options))
        {
            json.WriteStartObject();
            json.WriteString("timestamp", clock.GetUtcNow().UtcDateTime);
            json.WriteString("level", LogLevels.Name(logEntry.LogLevel));
            json.WriteString("service", $"crm-{service.Value}");
            json.WriteString("category", logEntry.Category);
            json.WriteNumber("event_id", logEntry.EventId.Id);
            WriteWhenThere("event", logEntry.EventId.Name);
            json.WriteString("message", logEntry.Formatter(logEntry.State, logEntry.Exception));
            WriteWhenThere("trace_id", origin.TraceId);
            WriteWhenThere("span_id", origin.SpanId);
            WriteWhenThere("message_id", origin.MessageId);
            WriteWhenThere("queue", origin.Queue);
            WriteWhenThere("request_id", origin.RequestId);
            WriteWhenThere("exception", logEntry.Exception?.ToString());
            json.WriteEndObject();

            void WriteWhenThere(string name, string? value)
            {
                if (value is not null)
                {
                    json.WriteString(name, value);
                }
            }
        }

        textWriter.WriteLine(Encoding.UTF8.GetString(buffer.WrittenSpan));
    }
}

/// <summary>The same for people who read along: a line, and the exception below it.</summary>
internal sealed class TextLogLines(TimeProvider clock) : ConsoleFormatter(FormatterName)
{
    public const string FormatterName = "crm-text";

    public override void Write<TState>(in LogEntry<TState> logEntry, IExternalScopeProvider? scopeProvider, TextWriter textWriter)
    {
        var origin = LogOrigin.Of(logEntry.State, scopeProvider);
        textWriter.Write(clock.GetUtcNow().UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture));
        textWriter.Write($" {LogLevels.Name(logEntry.LogLevel),-5} {logEntry.Category}: {logEntry.Formatter(logEntry.State, logEntry.Exception)}");
        WriteWhenThere("trace_id", origin.TraceId);
        WriteWhenThere("span_id", origin.SpanId);
        WriteWhenThere("message_id", origin.MessageId);
        textWriter.WriteLine();
        if (logEntry.Exception is { } exception)
        {
            textWriter.WriteLine(exception.ToString());
        }

        void WriteWhenThere(string name, string? value)
        {
            if (value is not null)
            {
                textWriter.Write($" {name}={value}");
            }
        }
    }
}

/// <summary>The message's id and queue, by OpenTelemetry's names, in what is exported.</summary>
internal sealed class MessageAttributes : BaseProcessor<LogRecord>
{
    public override void OnEnd(LogRecord data)
    {
        var consumed = ConsumedMessage.Current;
        if ((LogOrigin.MessageOf(data.Attributes) ?? consumed?.Id) is not { } id)
        {
            return;
        }

        var attributes = new List<KeyValuePair<string, object?>>(data.Attributes ?? []) { new("messaging.message.id", id) };
        if (consumed is not null)
        {
            attributes.Add(new("messaging.destination.name", consumed.Queue));
        }

        data.Attributes = attributes;
    }
}

internal static class LogLevels
{
    /// <summary>OpenTelemetry's short names of severities.</summary>
    public static string Name(LogLevel level) => level switch
    {
        LogLevel.Trace => "trace",
        LogLevel.Debug => "debug",
        LogLevel.Information => "info",
        LogLevel.Warning => "warn",
        LogLevel.Error => "error",
        _ => "fatal",
    };
}

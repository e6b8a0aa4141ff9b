using Microsoft.Extensions.Logging;
using OpenTelemetry;

namespace Crm.Hosting;

/// <summary>
/// Work that leaves no spans: what is asked every second, whether there is anything to do or not, would bury the traces of
/// customers. Its logs are exported all the same, which OpenTelemetry's own scope drops.
/// </summary>
public static class QuietWork
{
    private static readonly AsyncLocal<bool> UnderWay = new();

    /// <summary>Quiet until the end of what is returned, with all that is awaited inside.</summary>
    public static IDisposable Begin()
    {
        var scope = new Scope(UnderWay.Value, SuppressInstrumentationScope.Begin());
        UnderWay.Value = true;
        return scope;
    }

    private sealed class Scope(bool before, IDisposable suppressed) : IDisposable
    {
        public void Dispose()
        {
            UnderWay.Value = before;
            suppressed.Dispose();
        }
    }

    /// <summary>OpenTelemetry's provider of loggers, which hears quiet work too. Its exporters, which suppress for themselves, stay unheard.</summary>
    [ProviderAlias("OpenTelemetry")]
    internal sealed class Logs(ILoggerProvider inner) : ILoggerProvider, ISupportExternalScope
    {
        public ILogger CreateLogger(string categoryName) => new Logger(inner.CreateLogger(categoryName));

        public void SetScopeProvider(IExternalScopeProvider scopeProvider) => (inner as ISupportExternalScope)?.SetScopeProvider(scopeProvider);

        public void Dispose() => inner.Dispose();

        private sealed class Logger(ILogger inner) : ILogger
        {
            public IDisposable? BeginScope<TState>(TState state) where TState : notnull => inner.BeginScope(state);

            public bool IsEnabled(LogLevel logLevel) => inner.IsEnabled(logLevel);

            public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            {
                using var heard = UnderWay.Value ? SuppressInstrumentationScope.Begin(false) : null;
                inner.Log(logLevel, eventId, state, exception, formatter);
            }
        }
    }
}

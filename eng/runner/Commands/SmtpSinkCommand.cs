using System.Globalization;

namespace Crm.Runner.Commands;

/// <summary>smtp-sink --port N [--folder DIR] [--reject REGEX] [--defer REGEX]: the mail catcher as a process.</summary>
internal static class SmtpSinkCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        await using var sink = SmtpSink.Start(new SmtpSinkOptions
        {
            Port = int.Parse(Value("--port") ?? "0", CultureInfo.InvariantCulture),
            Folder = Value("--folder"),
            Reject = Value("--reject"),
            Defer = Value("--defer"),
            Remember = false,
        });
        Console.WriteLine($"Listening on 127.0.0.1:{sink.Port}.");
        try
        {
            await Task.Delay(Timeout.Infinite, ct);
        }
        catch (OperationCanceledException)
        {
            Console.WriteLine($"Stopped after {sink.Count} mails.");
        }

        return 0;

        string? Value(string option) => Array.IndexOf(args, option) is var at and >= 0 && at + 1 < args.Length ? args[at + 1] : null;
    }
}

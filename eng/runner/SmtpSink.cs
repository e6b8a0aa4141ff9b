using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;

namespace Crm.Runner;

public sealed record SmtpSinkOptions
{
    /// <summary>0 takes a free one.</summary>
    public int Port { get; init; }

    /// <summary>Where each mail is kept as an .eml file; null keeps them in memory only.</summary>
    public string? Folder { get; init; }

    /// <summary>False for a catcher that runs for days: mails are only kept as files.</summary>
    public bool Remember { get; init; } = true;

    /// <summary>Recipients refused for good (550), as a regular expression.</summary>
    public string? Reject { get; init; }

    /// <summary>Recipients put off (451), as a regular expression.</summary>
    public string? Defer { get; init; }

    /// <summary>Largest mail in bytes, announced and enforced.</summary>
    public int MaximumSize { get; init; } = 10 * 1024 * 1024;

    /// <summary>What a mail whose data came in whole waits for before anything is done with it.</summary>
    public Func<SmtpMail, Task>? Hold { get; init; }

    /// <summary>What to do with a mail whose data came in whole; the mail counts as delivered unless it is refused.</summary>
    public Func<SmtpMail, SmtpOutcome>? Decide { get; init; }
}

public enum SmtpOutcome
{
    Accept,

    /// <summary>Kept, but the connection is cut before the answer: the sender cannot know.</summary>
    AcceptAndCut,

    /// <summary>451 after the data.</summary>
    Defer,

    /// <summary>554 after the data.</summary>
    Reject,
}

public sealed record SmtpMail(int Number, string From, IReadOnlyList<string> Recipients, string Data)
{
    /// <summary>The first value of a header, unfolded; null when there is none.</summary>
    public string? Header(string name)
    {
        var end = Data.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        var headers = Regex.Replace(end < 0 ? Data : Data[..end], "\r\n[ \t]+", " ", RegexOptions.None, TimeSpan.FromSeconds(10)).Split("\r\n");
        return headers.FirstOrDefault(h => h.StartsWith(name + ":", StringComparison.OrdinalIgnoreCase))?[(name.Length + 1)..].Trim();
    }
}

/// <summary>
/// An SMTP server (RFC 5321 with SIZE, 8BITMIME, PIPELINING) that keeps every mail and sends none on: the mail catcher of
/// development, and the mail server that tests count at.
/// </summary>
public sealed partial class SmtpSink : IAsyncDisposable
{
    private readonly SmtpSinkOptions _options;
    private readonly TcpListener _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<SmtpMail> _mails = new();
    private readonly ConcurrentDictionary<Task, bool> _sessions = new();
    private readonly Regex? _reject, _defer;
    private readonly string _start = DateTimeOffset.UtcNow.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture);
    private Task _accepting = Task.CompletedTask;
    private int _count, _delivered;

    private SmtpSink(SmtpSinkOptions options, TcpListener listener)
    {
        _options = options;
        _reject = Pattern(options.Reject);
        _defer = Pattern(options.Defer);
        _listener = listener;
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>In the order of arrival.</summary>
    public IReadOnlyCollection<SmtpMail> Mails => _mails;

    /// <summary>Mails taken since the start.</summary>
    public int Count => _delivered;

    public static SmtpSink Start(SmtpSinkOptions options)
    {
        if (options.Folder is not null)
            Directory.CreateDirectory(options.Folder);
        var sink = new SmtpSink(options, Listen(options.Port));
        sink._accepting = sink.AcceptAsync();
        return sink;
    }

    private static TcpListener Listen(int port)
    {
        for (var attempt = 1; ; attempt++)
        {
            var listener = new TcpListener(IPAddress.Loopback, port == 0 ? FreePort.Next() : port);
            try
            {
                listener.Start();
                return listener;
            }
            catch (SocketException) when (port == 0 && attempt < 10)
            {
                // Somebody took the free port in between.
                listener.Dispose();
            }
        }
    }

    /// <summary>How many mails each address got, by lower-case address.</summary>
    public IReadOnlyDictionary<string, int> CountByRecipient() => _mails
        .SelectMany(m => m.Recipients)
        .GroupBy(r => r.ToLowerInvariant())
        .ToDictionary(g => g.Key, g => g.Count());

    /// <summary>Cuts every connection and stops listening; what was kept can still be read.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting;
        await Task.WhenAll(_sessions.Keys);
        _listener.Dispose();
        GC.SuppressFinalize(this);
    }

    private static Regex? Pattern(string? text) =>
        text is null ? null : new Regex(text, RegexOptions.IgnoreCase | RegexOptions.CultureInvariant, TimeSpan.FromSeconds(10));

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptTcpClientAsync(_stop.Token);
                var session = ServeAsync(client);
                _sessions.TryAdd(session, true);
                _ = session.ContinueWith(s => _sessions.TryRemove(s, out _), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or InvalidOperationException)
        {
            // Stopped: a listener that is not listening any more answers with an InvalidOperationException.
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using var owned = client;
        client.NoDelay = true;
        try
        {
            await new Session(this, client.GetStream(), _stop.Token).RunAsync();
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
        {
            // The other side went away, or this one stops: an unfinished mail was never answered, so nobody counts it.
        }
    }

    private async Task<SmtpOutcome> KeepAsync(string from, List<string> recipients, byte[] data, CancellationToken ct)
    {
        var mail = new SmtpMail(Interlocked.Increment(ref _count), from, recipients, Encoding.UTF8.GetString(data));
        if (_options.Hold is { } hold)
            await hold(mail).WaitAsync(ct);
        var outcome = _options.Decide?.Invoke(mail) ?? SmtpOutcome.Accept;
        if (outcome is SmtpOutcome.Defer or SmtpOutcome.Reject)
            return outcome;
        if (_options.Folder is { } folder)
        {
            // The envelope stands on top as a delivering server writes it (Return-Path, RFC 5321 4.4).
            var envelope = $"Return-Path: <{from}>\r\n{string.Concat(recipients.Select(r => $"Delivered-To: {r}\r\n"))}";
            var path = Path.Combine(folder, $"{_start}-{mail.Number:D6}.eml");
            await File.WriteAllBytesAsync(path + ".part", [.. Encoding.UTF8.GetBytes(envelope), .. data], ct);
            File.Move(path + ".part", path, overwrite: true);
        }

        if (_options.Remember)
            _mails.Enqueue(mail);
        Interlocked.Increment(ref _delivered);
        return outcome;
    }

    private sealed partial class Session(SmtpSink sink, NetworkStream stream, CancellationToken ct)
    {
        private const int LongestLine = 64 * 1024;

        private readonly byte[] _buffer = new byte[16 * 1024];
        private readonly List<string> _recipients = [];
        private int _start, _end;
        private string? _from;
        private bool _greeted;

        public async Task RunAsync()
        {
            await ReplyAsync("220 localhost ESMTP mail catcher, nothing is sent on");
            while (await ReadLineAsync() is { } bytes)
            {
                var line = Encoding.UTF8.GetString(bytes);
                var verb = line.Split(' ', 2)[0].ToUpperInvariant();
                switch (verb)
                {
                    case "EHLO":
                        (_greeted, _from) = (true, null);
                        _recipients.Clear();
                        await ReplyAsync($"250-localhost\r\n250-SIZE {sink._options.MaximumSize}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 PIPELINING");
                        break;
                    case "HELO":
                        (_greeted, _from) = (true, null);
                        _recipients.Clear();
                        await ReplyAsync("250 localhost");
                        break;
                    case "MAIL":
                        await ReplyAsync(Mail(line));
                        break;
                    case "RCPT":
                        await ReplyAsync(Recipient(line));
                        break;
                    case "DATA":
                        if (!await DataAsync())
                            return;
                        break;
                    case "RSET":
                        _from = null;
                        _recipients.Clear();
                        await ReplyAsync("250 2.0.0 OK");
                        break;
                    case "NOOP":
                        await ReplyAsync("250 2.0.0 OK");
                        break;
                    case "VRFY":
                        await ReplyAsync("252 2.1.5 Not verified");
                        break;
                    case "QUIT":
                        await ReplyAsync("221 2.0.0 Bye");
                        return;
                    default:
                        await ReplyAsync("500 5.5.2 Command not recognized");
                        break;
                }
            }
        }

        private string Mail(string line)
        {
            if (!_greeted)
                return "503 5.5.1 EHLO first";
            if (_from is not null)
                return "503 5.5.1 A mail is already open";
            var match = MailCommand().Match(line);
            if (!match.Success)
                return "501 5.5.4 Syntax: MAIL FROM:<address>";
            var size = SizeParameter().Match(match.Groups["parameters"].Value);
            if (size.Success && (!int.TryParse(size.Groups["bytes"].Value, CultureInfo.InvariantCulture, out var bytes) || bytes > sink._options.MaximumSize))
                return "552 5.3.4 Mail is too large";
            _from = match.Groups["address"].Value;
            return "250 2.1.0 OK";
        }

        private string Recipient(string line)
        {
            if (_from is null)
                return "503 5.5.1 MAIL first";
            var match = RecipientCommand().Match(line);
            if (!match.Success)
                return "501 5.5.4 Syntax: RCPT TO:<address>";
            var address = match.Groups["address"].Value;
            if (sink._reject?.IsMatch(address) == true)
                return "550 5.1.1 No such mailbox";
            if (sink._defer?.IsMatch(address) == true)
                return "451 4.3.0 Try again later";
            _recipients.Add(address);
            return "250 2.1.5 OK";
        }

        /// <returns>Whether the session goes on.</returns>
        private async Task<bool> DataAsync()
        {
            if (_recipients.Count == 0)
            {
                await ReplyAsync(_from is null ? "503 5.5.1 MAIL first" : "554 5.5.1 No valid recipients");
                return true;
            }

            await ReplyAsync("354 End with a line of one dot");
            using var data = new MemoryStream();
            var tooLarge = false;
            while (true)
            {
                var line = await ReadLineAsync() ?? throw new IOException("The connection ended inside a mail.");
                if (line is [(byte)'.'])
                    break;
                var content = line.Length > 0 && line[0] == '.' ? line.AsMemory(1) : line;
                tooLarge |= data.Length + content.Length + 2 > sink._options.MaximumSize;
                if (tooLarge)
                    continue;
                data.Write(content.Span);
                data.Write("\r\n"u8);
            }

            var (from, recipients) = (_from!, _recipients.ToList());
            _from = null;
            _recipients.Clear();
            if (tooLarge)
            {
                await ReplyAsync("552 5.3.4 Mail is too large");
                return true;
            }

            switch (await sink.KeepAsync(from, recipients, data.ToArray(), ct))
            {
                case SmtpOutcome.AcceptAndCut:
                    return false;
                case SmtpOutcome.Defer:
                    await ReplyAsync("451 4.3.0 Try again later");
                    return true;
                case SmtpOutcome.Reject:
                    await ReplyAsync("554 5.7.1 Refused");
                    return true;
                default:
                    await ReplyAsync("250 2.0.0 Kept");
                    return true;
            }
        }

        private async Task ReplyAsync(string text) => await stream.WriteAsync(Encoding.ASCII.GetBytes(text + "\r\n"), ct);

        /// <summary>The next line without its CRLF; null at the end. A line is ended by CRLF only (RFC 5321 2.3.8).</summary>
        private async Task<byte[]?> ReadLineAsync()
        {
            var line = new List<byte>();
            while (true)
            {
                while (_start < _end)
                {
                    var value = _buffer[_start++];
                    if (value == '\n' && line.Count > 0 && line[^1] == '\r')
                    {
                        line.RemoveAt(line.Count - 1);
                        return [.. line];
                    }

                    line.Add(value);
                    if (line.Count > LongestLine)
                        throw new IOException("The line is too long.");
                }

                _start = 0;
                _end = await stream.ReadAsync(_buffer, ct);
                if (_end == 0)
                    return null;
            }
        }

        [GeneratedRegex(@"^MAIL FROM:\s*<(?<address>[^<>\s]*)>(?<parameters>.*)$", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
        private static partial Regex MailCommand();

        [GeneratedRegex(@"^RCPT TO:\s*<(?<address>[^<>\s]+)>.*$", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
        private static partial Regex RecipientCommand();

        [GeneratedRegex(@"\bSIZE=(?<bytes>\d+)", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
        private static partial Regex SizeParameter();
    }
}

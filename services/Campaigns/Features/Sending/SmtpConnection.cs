using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;

namespace Crm.Campaigns.Features.Sending;

internal enum SmtpOutcome
{
    /// <summary>The server took the mail.</summary>
    Accepted,

    /// <summary>Not taken, and may be later: a 4xx answer.</summary>
    Deferred,

    /// <summary>Not taken, for good: a 5xx answer.</summary>
    Refused,

    /// <summary>The connection ended before any data went out.</summary>
    NotSent,

    /// <summary>Data went out and no answer came: the mail may be delivered or not.</summary>
    Uncertain,
}

/// <param name="Code">The server's answer, where there was one.</param>
internal sealed record SmtpResult(SmtpOutcome Outcome, int? Code = null);

/// <summary>No usable session with the mail server; no mail was begun.</summary>
internal sealed class SmtpUnavailableException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// A session with a mail server (RFC 5321 submission; STARTTLS, AUTH PLAIN and LOGIN), for many mails in turn.
/// </summary>
/// <remarks>
/// Own code, because the difference between "not sent" and "may be sent" is what the ledger stands on, and
/// System.Net.Mail.SmtpClient does not tell it: a connection that is refused, is cut at MAIL, at DATA, inside the
/// data or after it gives the same SmtpException(GeneralFailure) around the same IOException (tried against a
/// scripted server, .NET 10).
/// </remarks>
internal sealed class SmtpConnection : IAsyncDisposable
{
    private const int LongestLine = 4096;
    private const int MostLines = 128;
    private static readonly TimeSpan OpenLimit = TimeSpan.FromSeconds(15);

    private readonly SmtpOptions _options;
    private readonly TcpClient _tcp;
    private readonly byte[] _buffer = new byte[4096];
    private readonly HashSet<string> _extensions = new(StringComparer.OrdinalIgnoreCase);
    private Stream _stream;
    private int _start;
    private int _end;
    private string _mechanisms = "";

    private SmtpConnection(SmtpOptions options, TcpClient tcp)
    {
        _options = options;
        _tcp = tcp;
        _stream = tcp.GetStream();
    }

    /// <summary>False once anything went wrong that leaves the session in doubt; take a new one.</summary>
    public bool IsUsable { get; private set; } = true;

    /// <summary>Whether addresses beyond ASCII are understood (RFC 6531).</summary>
    public bool HasUtf8 => _extensions.Contains("SMTPUTF8");

    /// <exception cref="SmtpUnavailableException">The server is away, refuses the session, its certificate or our credentials.</exception>
    public static async Task<SmtpConnection> OpenAsync(SmtpOptions options, CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(OpenLimit);
        var tcp = new TcpClient { NoDelay = true };
        SmtpConnection? connection = null;
        try
        {
            await tcp.ConnectAsync(options.Host, options.Port, limit.Token);
            connection = new SmtpConnection(options, tcp);
            await connection.GreetAsync(limit.Token);
            return connection;
        }
        catch (Exception exception) when (exception is IOException or SocketException or AuthenticationException or ProtocolException
            || (exception is OperationCanceledException && !ct.IsCancellationRequested))
        {
            tcp.Dispose();
            throw new SmtpUnavailableException($"{options.Host}:{options.Port}: {exception.Message}", exception);
        }
        catch
        {
            tcp.Dispose();
            throw;
        }
    }

    /// <summary>Whether the server still answers.</summary>
    public async Task<bool> ProbeAsync(CancellationToken ct)
    {
        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
            limit.CancelAfter(OpenLimit);
            return IsUsable && (await CommandAsync("NOOP", limit.Token)).Code == 250;
        }
        catch (Exception exception) when (IsBroken(exception))
        {
            IsUsable = false;
            return false;
        }
    }

    /// <summary>Hands over one mail. Never throws: whatever happens has an outcome.</summary>
    /// <param name="data">The mail with CRLF line ends, without the final dot.</param>
    public async Task<SmtpResult> SendAsync(string from, string to, byte[] data)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(_options.TimeoutSeconds));
        var ct = limit.Token;
        if (!to.All(char.IsAscii) && !HasUtf8)
        {
            return new(SmtpOutcome.Refused);
        }

        try
        {
            var utf8 = to.All(char.IsAscii) ? "" : " SMTPUTF8";
            foreach (var command in (string[])[$"MAIL FROM:<{from}>{utf8}", $"RCPT TO:<{to}>", "DATA"])
            {
                var reply = await CommandAsync(command, ct);
                if (reply.Code is not (250 or 251 or 354) || (command == "DATA") != (reply.Code == 354))
                {
                    return await GiveUpAsync(reply, ct);
                }
            }
        }
        catch (Exception exception) when (IsBroken(exception))
        {
            IsUsable = false;
            return new(SmtpOutcome.NotSent);
        }

        try
        {
            await _stream.WriteAsync(Stuffed(data), ct);
            var reply = await ReadReplyAsync(ct);
            IsUsable &= reply.Code != 421;
            return new(
                reply.Code switch
                {
                    >= 200 and < 300 => SmtpOutcome.Accepted,
                    >= 400 and < 500 => SmtpOutcome.Deferred,
                    >= 500 and < 600 => SmtpOutcome.Refused,
                    _ => SmtpOutcome.Uncertain,
                },
                reply.Code);
        }
        catch (Exception exception) when (IsBroken(exception))
        {
            IsUsable = false;
            return new(SmtpOutcome.Uncertain);
        }
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            if (IsUsable)
            {
                using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
                await CommandAsync("QUIT", limit.Token);
            }
        }
        catch (Exception exception) when (IsBroken(exception))
        {
            // It is gone already.
        }

        await _stream.DisposeAsync();
        _tcp.Dispose();
    }

    private async Task GreetAsync(CancellationToken ct)
    {
        if (_options.Tls == SmtpTls.Implicit)
        {
            await EncryptAsync(ct);
        }

        Require(await ReadReplyAsync(ct), 220, "greeting");
        await HelloAsync(ct);
        if (_options.Tls == SmtpTls.StartTls)
        {
            if (!_extensions.Contains("STARTTLS"))
            {
                throw new ProtocolException("the server has no STARTTLS");
            }

            Require(await CommandAsync("STARTTLS", ct), 220, "STARTTLS");
            if (_start != _end)
            {
                throw new ProtocolException("text after STARTTLS that is not encrypted");
            }

            await EncryptAsync(ct);
            await HelloAsync(ct);
        }

        if (_options.User is not null)
        {
            await AuthenticateAsync(ct);
        }
    }

    private async Task HelloAsync(CancellationToken ct)
    {
        _extensions.Clear();
        _mechanisms = "";
        var host = Dns.GetHostName();
        var name = host.Length is > 0 and <= 255 && host.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.') ? host : "localhost";
        var reply = await CommandAsync($"EHLO {name}", ct);
        Require(reply, 250, "EHLO");
        foreach (var line in reply.Lines.Skip(1))
        {
            var words = line.Split(' ', 2);
            _extensions.Add(words[0]);
            if (words is [var extension, var parameters] && extension.Equals("AUTH", StringComparison.OrdinalIgnoreCase))
            {
                _mechanisms = parameters.ToUpperInvariant();
            }
        }
    }

    private async Task EncryptAsync(CancellationToken ct)
    {
        var ssl = new SslStream(_stream);
        await ssl.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = _options.Host }, ct);
        _stream = ssl;
    }

    private async Task AuthenticateAsync(CancellationToken ct)
    {
        var mechanisms = _mechanisms.Split(' ');
        if (mechanisms.Contains("PLAIN"))
        {
            Require(await CommandAsync($"AUTH PLAIN {Base64($"\0{_options.User}\0{_options.Password}")}", ct), 235, "AUTH");
        }
        else if (mechanisms.Contains("LOGIN"))
        {
            Require(await CommandAsync("AUTH LOGIN", ct), 334, "AUTH");
            Require(await CommandAsync(Base64(_options.User!), ct), 334, "AUTH");
            Require(await CommandAsync(Base64(_options.Password!), ct), 235, "AUTH");
        }
        else
        {
            throw new ProtocolException("the server has neither AUTH PLAIN nor AUTH LOGIN");
        }

        static string Base64(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text));
    }

    /// <summary>Nothing of the mail went out; the session goes on when the server forgets it.</summary>
    private async Task<SmtpResult> GiveUpAsync(Reply reply, CancellationToken ct)
    {
        // 421: the server closes. 503, 530, 538 and whatever is no refusal: the session, not the mail.
        if (reply.Code is 421 or 503 or 530 or 538 or < 400 or >= 600)
        {
            IsUsable = false;
            return new(reply.Code == 421 ? SmtpOutcome.Deferred : SmtpOutcome.NotSent, reply.Code);
        }

        try
        {
            IsUsable = (await CommandAsync("RSET", ct)).Code == 250;
        }
        catch (Exception exception) when (IsBroken(exception))
        {
            IsUsable = false;
        }

        return new(reply.Code < 500 ? SmtpOutcome.Deferred : SmtpOutcome.Refused, reply.Code);
    }

    private async Task<Reply> CommandAsync(string command, CancellationToken ct)
    {
        if (command.AsSpan().IndexOfAny('\r', '\n') >= 0)
        {
            throw new ProtocolException("a line break in a command");
        }

        await _stream.WriteAsync(Encoding.UTF8.GetBytes(command + "\r\n"), ct);
        return await ReadReplyAsync(ct);
    }

    private async Task<Reply> ReadReplyAsync(CancellationToken ct)
    {
        var lines = new List<string>();
        while (lines.Count < MostLines)
        {
            var line = await ReadLineAsync(ct);
            if (line.Length < 3 || !int.TryParse(line.AsSpan(0, 3), NumberStyles.None, CultureInfo.InvariantCulture, out var code)
                || (line.Length > 3 && line[3] is not (' ' or '-')))
            {
                throw new ProtocolException("an answer that is not SMTP");
            }

            lines.Add(line.Length > 4 ? line[4..] : "");
            if (line.Length == 3 || line[3] == ' ')
            {
                return new(code, lines);
            }
        }

        throw new ProtocolException("an endless answer");
    }

    private async Task<string> ReadLineAsync(CancellationToken ct)
    {
        var line = new List<byte>();
        while (line.Count < LongestLine)
        {
            if (_start == _end)
            {
                _start = 0;
                _end = await _stream.ReadAsync(_buffer, ct);
                if (_end == 0)
                {
                    throw new IOException("the server closed the connection");
                }
            }

            var value = _buffer[_start++];
            if (value == '\n')
            {
                return Encoding.UTF8.GetString([.. line]).TrimEnd('\r');
            }

            line.Add(value);
        }

        throw new ProtocolException("an answer line that is too long");
    }

    /// <summary>A line that begins with a dot gets another one (RFC 5321 4.5.2), and a lone dot ends the mail.</summary>
    private static byte[] Stuffed(byte[] data)
    {
        using var stuffed = new MemoryStream(data.Length + 64);
        var lineStart = true;
        foreach (var value in data)
        {
            if (lineStart && value == '.')
            {
                stuffed.WriteByte((byte)'.');
            }

            stuffed.WriteByte(value);
            lineStart = value == '\n';
        }

        stuffed.Write(lineStart ? ".\r\n"u8 : "\r\n.\r\n"u8);
        return stuffed.ToArray();
    }

    private static void Require(Reply reply, int code, string step)
    {
        if (reply.Code != code)
        {
            throw new ProtocolException(string.Create(CultureInfo.InvariantCulture, $"{step} was answered {reply.Code}"));
        }
    }

    private static bool IsBroken(Exception exception) =>
        exception is IOException or SocketException or ProtocolException or OperationCanceledException or ObjectDisposedException;

    private sealed record Reply(int Code, IReadOnlyList<string> Lines);

    private sealed class ProtocolException(string message) : Exception(message);
}

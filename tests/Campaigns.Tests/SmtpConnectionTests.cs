using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Crm.Campaigns.Features.Sending;

namespace Campaigns.Tests;

/// <summary>What the SMTP client makes of a server that fails at each step.</summary>
public sealed class SmtpConnectionTests
{
    private const string Cut = "CUT";
    private const string Silence = "SILENCE";

    [Theory]
    [InlineData("MAIL", Cut, "NotSent", null)]
    [InlineData("MAIL", "451 later", "Deferred", 451)]
    [InlineData("MAIL", "421 closing", "Deferred", 421)]
    [InlineData("MAIL", "552 too big", "Refused", 552)]
    [InlineData("MAIL", "530 STARTTLS first", "NotSent", 530)]
    [InlineData("MAIL", Silence, "NotSent", null)]
    [InlineData("MAIL", "what?", "NotSent", null)]
    [InlineData("RCPT", Cut, "NotSent", null)]
    [InlineData("RCPT", "450 greylisted", "Deferred", 450)]
    [InlineData("RCPT", "550-no\r\n550 such user", "Refused", 550)]
    [InlineData("DATA", Cut, "NotSent", null)]
    [InlineData("DATA", "451 later", "Deferred", 451)]
    [InlineData("DATA", "554 no", "Refused", 554)]
    [InlineData("BODY", Cut, "Uncertain", null)]
    [InlineData("DOT", Cut, "Uncertain", null)]
    [InlineData("DOT", Silence, "Uncertain", null)]
    [InlineData("DOT", "what?", "Uncertain", null)]
    [InlineData("DOT", "451 later", "Deferred", 451)]
    [InlineData("DOT", "554 spam", "Refused", 554)]
    [InlineData("DOT", "250 kept", "Accepted", 250)]
    public async Task Sent_and_not_sent_are_never_confused(string step, string answer, string outcome, int? code)
    {
        await using var server = new ScriptedServer(new() { [step] = answer });
        await using var connection = await SmtpConnection.OpenAsync(server.Options(), Ct);
        Assert.Equal(new SmtpResult(Enum.Parse<SmtpOutcome>(outcome), code), await connection.SendAsync("a@x.example", "b@y.example", "Subject: x\r\n\r\ntext\r\n"u8.ToArray()));
    }

    [Fact]
    public async Task After_a_refusal_the_same_connection_takes_the_next_mail()
    {
        await using var server = new ScriptedServer([]);
        await using var connection = await SmtpConnection.OpenAsync(server.Options(), Ct);
        server.Answers["RCPT"] = "550 no";
        Assert.Equal(SmtpOutcome.Refused, (await connection.SendAsync("a@x.example", "b@y.example", [])).Outcome);
        Assert.True(connection.IsUsable);
        server.Answers.Remove("RCPT", out _);
        Assert.Equal(SmtpOutcome.Accepted, (await connection.SendAsync("a@x.example", "c@y.example", ".\r\n..x\r\n.y"u8.ToArray())).Outcome);
        Assert.Equal([".\n..x\n.y\n"], server.Mails);
        Assert.Equal("EHLO MAIL RCPT RSET MAIL RCPT DATA", string.Join(' ', server.Commands.Select(c => c.Split(' ')[0])));
    }

    [Theory]
    [InlineData("GREETING", Cut)]
    [InlineData("GREETING", "421 busy")]
    [InlineData("GREETING", "554 go away")]
    [InlineData("EHLO", "502 what")]
    [InlineData("EHLO", Cut)]
    public async Task A_server_that_does_not_greet_is_unavailable(string step, string answer)
    {
        await using var server = new ScriptedServer(new() { [step] = answer });
        await Assert.ThrowsAsync<SmtpUnavailableException>(() => SmtpConnection.OpenAsync(server.Options(), Ct));
    }

    [Fact]
    public async Task A_server_that_is_not_there_is_unavailable()
    {
        int port;
        await using (var server = new ScriptedServer([]))
        {
            port = server.Options().Port;
        }

        await Assert.ThrowsAsync<SmtpUnavailableException>(() => SmtpConnection.OpenAsync(new SmtpOptions { Host = "127.0.0.1", Port = port, From = "a@x.example" }, Ct));
    }

    [Theory]
    [InlineData("AUTH PLAIN LOGIN", "AUTH PLAIN AHVzZXIAcMOkc3M=")]
    [InlineData("AUTH LOGIN", "AUTH LOGIN|dXNlcg==|cMOkc3M=")]
    public async Task Credentials_go_by_what_the_server_offers(string extension, string expected)
    {
        await using var server = new ScriptedServer(new() { ["EHLO"] = $"250-x\r\n250 {extension}" });
        await using var connection = await SmtpConnection.OpenAsync(server.Options(SmtpTls.None, "user", "päss"), Ct);
        Assert.Equal(expected, string.Join('|', server.Commands.Skip(1)));
    }

    [Fact]
    public async Task Refused_credentials_are_no_connection()
    {
        await using var server = new ScriptedServer(new() { ["EHLO"] = "250-x\r\n250 AUTH PLAIN", ["AUTH"] = "535 no" });
        await Assert.ThrowsAsync<SmtpUnavailableException>(() => SmtpConnection.OpenAsync(server.Options(SmtpTls.None, "user", "wrong"), Ct));
    }

    [Fact]
    public async Task Without_starttls_nothing_is_said_in_the_clear()
    {
        await using var server = new ScriptedServer(new() { ["EHLO"] = "250-x\r\n250 AUTH PLAIN" });
        await Assert.ThrowsAsync<SmtpUnavailableException>(() => SmtpConnection.OpenAsync(server.Options(SmtpTls.StartTls, "user", "secret"), Ct));
        Assert.DoesNotContain(server.Commands, c => c.StartsWith("AUTH", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(SmtpTls.StartTls)]
    [InlineData(SmtpTls.Implicit)]
    public async Task A_certificate_that_nobody_trusts_is_no_connection(SmtpTls tls)
    {
        await using var server = new ScriptedServer(new() { ["EHLO"] = "250-x\r\n250 STARTTLS" }, tls);
        await Assert.ThrowsAsync<SmtpUnavailableException>(() => SmtpConnection.OpenAsync(server.Options(tls, "user", "secret"), Ct));
        Assert.DoesNotContain(server.Commands, c => c.StartsWith("AUTH", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Text_smuggled_in_after_starttls_is_not_taken_for_the_encrypted_answer()
    {
        await using var server = new ScriptedServer(new() { ["EHLO"] = "250-x\r\n250 STARTTLS", ["STARTTLS"] = "220 go\r\n250 injected" });
        await Assert.ThrowsAsync<SmtpUnavailableException>(() => SmtpConnection.OpenAsync(server.Options(SmtpTls.StartTls), Ct));
    }

    [Fact]
    public async Task An_address_beyond_ascii_goes_only_to_a_server_that_understands_it()
    {
        await using var plain = new ScriptedServer([]);
        await using var refusing = await SmtpConnection.OpenAsync(plain.Options(), Ct);
        Assert.Equal(SmtpOutcome.Refused, (await refusing.SendAsync("a@x.example", "zoë@y.example", [])).Outcome);
        await using var utf8 = new ScriptedServer(new() { ["EHLO"] = "250-x\r\n250 SMTPUTF8" });
        await using var taking = await SmtpConnection.OpenAsync(utf8.Options(), Ct);
        Assert.Equal(SmtpOutcome.Accepted, (await taking.SendAsync("a@x.example", "zoë@y.example", [])).Outcome);
        Assert.Contains("MAIL FROM:<a@x.example> SMTPUTF8", utf8.Commands);
    }

    [Fact]
    public void A_password_is_not_sent_to_another_machine_in_the_clear()
    {
        var options = new SmtpOptions { Host = "mail.example", From = "a@x.example", User = "user", Password = "secret" };
        Assert.Single(options.Validate(new(options)));
    }

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    /// <summary>Answers each step as it is told, 250 otherwise.</summary>
    private sealed class ScriptedServer : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _serving;
        private readonly SmtpTls _tls;

        public ScriptedServer(Dictionary<string, string> answers, SmtpTls tls = SmtpTls.None)
        {
            Answers = new(answers);
            _tls = tls;
            _listener.Start();
            Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
            _serving = ServeAsync();
        }

        public ConcurrentDictionary<string, string> Answers { get; }
        public ConcurrentQueue<string> Commands { get; } = new();
        public ConcurrentQueue<string> Mails { get; } = new();
        private int Port { get; }

        public SmtpOptions Options(SmtpTls tls = SmtpTls.None, string? user = null, string? password = null) =>
            new() { Host = "127.0.0.1", Port = Port, From = "a@x.example", TimeoutSeconds = Timeout(), Tls = tls, User = user, Password = password };

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            _listener.Stop();
            await _serving;
            _listener.Dispose();
            _stop.Dispose();
        }

        /// <summary>Seconds; short only where silence is waited for, which after the data begins when all of them went out.</summary>
        private int Timeout() => Answers.GetValueOrDefault("DOT") == Silence ? 5 : Answers.Values.Contains(Silence) ? 1 : 30;

        private async Task ServeAsync()
        {
            try
            {
                using var client = await _listener.AcceptTcpClientAsync();
                await SpeakAsync(client.GetStream());
            }
            catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or OperationCanceledException or System.Security.Authentication.AuthenticationException)
            {
                // The client went away, or the test is over.
            }
        }

        private async Task SpeakAsync(Stream stream)
        {
            if (_tls == SmtpTls.Implicit)
            {
                stream = await EncryptAsync(stream);
            }

            var reader = new StreamReader(stream);
            if (!await AnswerAsync("GREETING", "220 hello"))
            {
                return;
            }

            while (await reader.ReadLineAsync() is { } line)
            {
                Commands.Enqueue(line);
                var verb = line.Split(' ')[0];
                if (verb == "QUIT")
                {
                    return;
                }

                var login = Commands.Any(c => c == "AUTH LOGIN");
                var usual = verb switch
                {
                    "DATA" => "354 go on",
                    "AUTH" => line == "AUTH LOGIN" ? "334 user" : "235 welcome",
                    "EHLO" or "MAIL" or "RCPT" or "RSET" or "NOOP" or "STARTTLS" => verb == "STARTTLS" ? "220 go" : "250 fine",
                    _ when login => Commands.Count(c => !c.Contains(' ')) == 1 ? "334 password" : "235 welcome",
                    _ => "500 what",
                };
                if (!await AnswerAsync(verb, usual))
                {
                    return;
                }

                if (verb == "STARTTLS" && _tls == SmtpTls.StartTls)
                {
                    stream = await EncryptAsync(stream);
                    reader = new StreamReader(stream);
                }

                if (verb == "DATA" && !Answers.ContainsKey("DATA"))
                {
                    var mail = new StringBuilder();
                    while (await reader.ReadLineAsync() is { } data && data != ".")
                    {
                        if (Answers.ContainsKey("BODY"))
                        {
                            return;
                        }

                        mail.Append(data.StartsWith('.') ? data[1..] : data).Append('\n');
                    }

                    Mails.Enqueue(mail.ToString());
                    if (!await AnswerAsync("DOT", "250 kept"))
                    {
                        return;
                    }
                }
            }

            async Task<bool> AnswerAsync(string step, string usual)
            {
                var answer = Answers.GetValueOrDefault(step, usual);
                if (answer is Cut)
                {
                    return false;
                }

                if (answer is Silence)
                {
                    await Task.Delay(System.Threading.Timeout.Infinite, _stop.Token);
                    return false;
                }

                await stream.WriteAsync(Encoding.ASCII.GetBytes(answer + "\r\n"));
                return true;
            }
        }

        private static async Task<Stream> EncryptAsync(Stream stream)
        {
            using var key = RSA.Create(2048);
            using var made = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
                .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
            var certificate = X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pfx), null);
            var ssl = new SslStream(stream);
            await ssl.AuthenticateAsServerAsync(certificate);
            return ssl;
        }
    }
}

using System.Net.Mail;
using System.Net.Sockets;
using System.Text;
using Crm.Runner;

namespace Runner.Tests;

public sealed class SmtpSinkTests
{
    [Fact]
    public async Task A_mail_arrives_as_it_was_sent()
    {
        await using var sink = SmtpSink.Start(new SmtpSinkOptions());
        using var client = new SmtpClient("127.0.0.1", sink.Port);
        using var mail = new MailMessage("from@crm.example", "to@crm.example", "Grüße", ".a line that starts with a dot\r\n..and two\r\n.");
        mail.Headers.Add("Message-ID", "<1@crm.example>");

        await client.SendMailAsync(mail, TestContext.Current.CancellationToken);

        var kept = Assert.Single(sink.Mails);
        Assert.Equal("from@crm.example", kept.From);
        Assert.Equal(["to@crm.example"], kept.Recipients);
        Assert.Equal("<1@crm.example>", kept.Header("message-id"));
        Assert.Equal(1, sink.CountByRecipient()["to@crm.example"]);
    }

    [Fact]
    public async Task Pipelined_commands_are_answered_in_order_and_dots_are_unstuffed()
    {
        await using var sink = SmtpSink.Start(new SmtpSinkOptions());

        var answers = await TalkAsync(sink, "EHLO x\r\nMAIL FROM:<a@x> SIZE=20 BODY=8BITMIME\r\nRCPT TO:<b@y>\r\nDATA\r\nSubject: t\r\n\r\n..one\r\n...\r\n.\r\nNOOP\r\nQUIT\r\n");

        Assert.Equal(["220", "250", "250", "250", "354", "250", "250", "221"], answers);
        Assert.Equal("Subject: t\r\n\r\n.one\r\n..\r\n", Assert.Single(sink.Mails).Data);
    }

    [Theory]
    [InlineData("RCPT TO:<b@y>\r\n", "503")]
    [InlineData("DATA\r\n", "503")]
    [InlineData("MAIL FROM:a@x\r\n", "501")]
    [InlineData("MAIL FROM:<a@x> SIZE=99999999\r\n", "552")]
    [InlineData("MAIL FROM:<a@x> SIZE=99999999999999\r\n", "552")]
    [InlineData("WRONG\r\n", "500")]
    [InlineData("VRFY a\r\n", "252")]
    [InlineData("RSET\r\n", "250")]
    public async Task A_command_out_of_place_is_refused(string command, string answer)
    {
        await using var sink = SmtpSink.Start(new SmtpSinkOptions());

        Assert.Equal(["220", "250", answer, "221"], await TalkAsync(sink, "EHLO x\r\n" + command + "QUIT\r\n"));
        Assert.Empty(sink.Mails);
    }

    [Fact]
    public async Task Recipients_are_refused_or_put_off_by_pattern_and_the_others_get_the_mail()
    {
        await using var sink = SmtpSink.Start(new SmtpSinkOptions { Reject = "^gone@", Defer = "^later@" });

        var answers = await TalkAsync(sink, "EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<gone@y>\r\nRCPT TO:<later@y>\r\nRCPT TO:<b@y>\r\nDATA\r\n\r\nhi\r\n.\r\nQUIT\r\n");

        Assert.Equal(["220", "250", "250", "550", "451", "250", "354", "250", "221"], answers);
        Assert.Equal(["b@y"], Assert.Single(sink.Mails).Recipients);
    }

    [Fact]
    public async Task A_connection_cut_after_the_data_leaves_the_sender_without_an_answer_and_the_mail_kept()
    {
        await using var sink = SmtpSink.Start(new SmtpSinkOptions { Decide = _ => SmtpOutcome.AcceptAndCut });

        var answers = await TalkAsync(sink, "EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n\r\nhi\r\n.\r\n");

        Assert.Equal(["220", "250", "250", "250", "354"], answers);
        Assert.Single(sink.Mails);
    }

    [Fact]
    public async Task A_mail_that_is_too_large_is_refused_after_its_data()
    {
        await using var sink = SmtpSink.Start(new SmtpSinkOptions { MaximumSize = 100 });

        var answers = await TalkAsync(sink, $"EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n{string.Concat(Enumerable.Repeat("0123456789\r\n", 20))}.\r\nQUIT\r\n");

        Assert.Equal(["220", "250", "250", "250", "354", "552", "221"], answers);
        Assert.Empty(sink.Mails);
    }

    [Fact]
    public async Task Mails_are_kept_as_files_with_their_envelope_on_top()
    {
        var folder = Reaper.TemporaryFolder("mail");
        await using var sink = SmtpSink.Start(new SmtpSinkOptions { Folder = folder });

        await TalkAsync(sink, "EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nSubject: t\r\n\r\nhi\r\n.\r\nQUIT\r\n");

        var file = Assert.Single(Directory.GetFiles(folder, "*.eml"));
        Assert.Equal("Return-Path: <a@x>\r\nDelivered-To: b@y\r\nSubject: t\r\n\r\nhi\r\n", await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken));
    }

    /// <summary>Sends everything at once, and reads to the end of the connection.</summary>
    /// <returns>The status of each reply.</returns>
    private static async Task<List<string>> TalkAsync(SmtpSink sink, string commands)
    {
        var ct = TestContext.Current.CancellationToken;
        using var client = new TcpClient();
        await client.ConnectAsync("127.0.0.1", sink.Port, ct);
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(commands), ct);
        using var reader = new StreamReader(client.GetStream());
        var text = await reader.ReadToEndAsync(ct);
        return [.. text.Split("\r\n", StringSplitOptions.RemoveEmptyEntries).Where(l => l[3] == ' ').Select(l => l[..3])];
    }
}

using System.ComponentModel.DataAnnotations;
using System.Net.Mail;

namespace Crm.Campaigns.Features.Sending;

public enum SmtpTls
{
    /// <summary>Not encrypted; for a relay on the same machine or private network.</summary>
    None,

    /// <summary>STARTTLS (RFC 3207), required.</summary>
    StartTls,

    /// <summary>TLS from the first byte (RFC 8314), usually port 465.</summary>
    Implicit,
}

/// <summary>Section <c>Smtp</c>: the mail server that takes our mail.</summary>
public sealed class SmtpOptions : IValidatableObject
{
    [Required]
    public string Host { get; init; } = null!;

    [Range(1, 65535)]
    public int Port { get; init; } = 587;

    /// <summary>The sender: <c>Name &lt;address&gt;</c>.</summary>
    [Required]
    public string From { get; init; } = null!;

    public SmtpTls Tls { get; init; }

    /// <summary>None: no authentication.</summary>
    public string? User { get; init; }

    /// <summary>A mounted secret.</summary>
    public string? Password { get; init; }

    /// <summary>Connections of one replica, each sending one mail at a time.</summary>
    [Range(1, 64)]
    public int Connections { get; init; } = 4;

    /// <summary>Seconds for one mail, from the first command to the answer after its data.</summary>
    [Range(1, 600)]
    public int TimeoutSeconds { get; init; } = 60;

    /// <summary>Seconds after which a message that is being sent counts as uncertain: its sender is dead.</summary>
    [Range(2, 3600)]
    public int LeaseSeconds { get; init; } = 180;

    internal MailAddress Sender => new(From);

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (!MailAddress.TryCreate(From, out var sender) || From.Any(char.IsControl) || !sender.Address.All(char.IsAscii))
        {
            yield return new("Smtp:From is an address of ASCII letters, with a name or without.", [nameof(From)]);
        }

        if (LeaseSeconds < 2 * TimeoutSeconds)
        {
            yield return new("Smtp:LeaseSeconds is at least twice Smtp:TimeoutSeconds.", [nameof(LeaseSeconds)]);
        }

        if (User is not null && Tls == SmtpTls.None && Host is not ("localhost" or "127.0.0.1" or "::1"))
        {
            yield return new("Smtp:User is not sent without Smtp:Tls.", [nameof(Tls)]);
        }

        if (User is null != Password is null)
        {
            yield return new("Smtp:User and Smtp:Password go together.", [nameof(Password)]);
        }
    }
}

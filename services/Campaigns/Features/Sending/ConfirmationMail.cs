using System.Globalization;
using Crm.Campaigns.Domain.Campaigns;

namespace Crm.Campaigns.Features.Sending;

/// <summary>The mail of a double opt-in: what is agreed to, one link, until when, and nothing to sell.</summary>
internal static class ConfirmationMail
{
    public static RenderedMail Write(Confirmation confirmation, string link)
    {
        var wording = confirmation.Wording is { Length: > 0 } words ? $"You would agree to this:\n\n{words}\n\n" : "";
        return new(
            $"Please confirm: {confirmation.Purpose}",
            $"""
            Somebody, probably you, asked us to write to this address ({confirmation.Purpose}).

            {wording}To confirm, open this page and press the button:
            {link}

            The link works until {confirmation.ExpiresAt.UtcDateTime.ToString("d MMMM yyyy HH:mm", CultureInfo.InvariantCulture)} UTC. If it was not you, do nothing: without a confirmation you get no mail.
            """,
            null);
    }
}

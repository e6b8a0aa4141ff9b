using System.ComponentModel.DataAnnotations;

namespace Crm.Campaigns.Features.Sending;

/// <summary>Section <c>Links</c>: where the links in mails lead, which is the gateway as the world sees it.</summary>
public sealed class LinkOptions : IValidatableObject
{
    /// <summary>For example <c>https://crm.example.com</c>; mailbox providers want https (RFC 8058).</summary>
    [Required]
    public Uri BaseUrl { get; init; } = null!;

    /// <summary>One POST there ends all marketing by e-mail; GET shows a page.</summary>
    internal string Unsubscribe(string token) => $"{Root}/u/{token}";

    internal string Preferences(string token) => $"{Root}/u/p/{token}";

    internal string Confirm(string token) => $"{Root}/u/c/{token}";

    private string Root => BaseUrl.AbsoluteUri.TrimEnd('/');

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (BaseUrl is { } url && !(url.IsAbsoluteUri && url.Scheme is "https" or "http" && url.Query.Length == 0))
        {
            yield return new("Links:BaseUrl is an absolute address, https://…", [nameof(BaseUrl)]);
        }
    }
}

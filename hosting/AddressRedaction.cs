using System.Diagnostics;
using System.Text.RegularExpressions;
using OpenTelemetry;

namespace Crm.Hosting;

/// <summary>Takes out of the addresses in spans what stands for a person: the tokens of mails' links, the ids that partners give.</summary>
internal sealed partial class AddressRedaction : BaseProcessor<Activity>
{
    private static readonly string[] Addresses = ["url.full", "url.path"];

    public override void OnEnd(Activity data)
    {
        foreach (var name in Addresses)
        {
            if (data.GetTagItem(name) is string address)
            {
                data.SetTag(name, Personal().Replace(address, "${place}REDACTED"));
            }
        }
    }

    [GeneratedRegex("(?<place>/u/([pc]/)?|/by-external-id/)[^?#]+", RegexOptions.ExplicitCapture | RegexOptions.IgnoreCase | RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Personal();
}

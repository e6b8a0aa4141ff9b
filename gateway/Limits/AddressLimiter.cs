using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Crm.Gateway.Limits;

/// <summary>Requests without valid credentials, by client address, in fixed windows of one minute; in memory of this replica.</summary>
internal sealed class AddressLimiter(TimeProvider clock)
{
    /// <summary>When there are more addresses than this the minute begins anew: memory is bounded, and a flood of addresses gains one quota.</summary>
    private const int MostAddresses = 100_000;

    private ConcurrentDictionary<(string Policy, IPAddress Address), StrongBox> _counts = new();
    private long _minute;

    public Quota Take(string policy, int limit, IPAddress? address)
    {
        var seconds = clock.GetUtcNow().ToUnixTimeSeconds();
        var minute = seconds / 60;
        if (Interlocked.Exchange(ref _minute, minute) != minute || _counts.Count > MostAddresses)
        {
            _counts = new();
        }

        var count = Interlocked.Increment(ref _counts.GetOrAdd((policy, Network(address ?? IPAddress.None)), static _ => new()).Count);
        return new(count <= limit, limit, Math.Max(0, limit - count), (int)(60 - (seconds % 60)));
    }

    /// <summary>One subscriber has a whole IPv6 /64.</summary>
    private static IPAddress Network(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
        {
            return address.MapToIPv4();
        }

        if (address.AddressFamily != AddressFamily.InterNetworkV6)
        {
            return address;
        }

        var bytes = address.GetAddressBytes();
        bytes.AsSpan(8).Clear();
        return new IPAddress(bytes);
    }

    private sealed class StrongBox
    {
        public int Count;
    }
}

using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace Crm.Gateway.Limits;

/// <summary>Requests without valid credentials, by client address, in fixed windows of one minute; in memory of this replica.</summary>
internal sealed class AddressLimiter(TimeProvider clock)
{
    /// <summary>When there are more addresses than this the minute begins anew: memory is bounded, and a flood of addresses gains one quota.</summary>
    private const int MostAddresses = 100_000;

    private Window _window = new(0);

    public Quota Take(string policy, int limit, IPAddress? address)
    {
        var seconds = clock.GetUtcNow().ToUnixTimeSeconds();
        var minute = seconds / 60;
        var window = Volatile.Read(ref _window);
        if (window.Minute < minute || window.Addresses > MostAddresses)
        {
            // Of several that see the minute end, one begins the next.
            Interlocked.CompareExchange(ref _window, new(minute), window);
            window = Volatile.Read(ref _window);
        }

        var count = window.Count((policy, Network(address ?? IPAddress.None)));
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

    private sealed class Window(long minute)
    {
        private readonly ConcurrentDictionary<(string Policy, IPAddress Address), StrongBox<int>> _counts = new();
        private int _addresses;

        public long Minute { get; } = minute;

        /// <summary>About so many; the dictionary's own count takes all its locks.</summary>
        public int Addresses => Volatile.Read(ref _addresses);

        public int Count((string Policy, IPAddress Address) key)
        {
            var count = Interlocked.Increment(ref _counts.GetOrAdd(key, static _ => new()).Value);
            if (count == 1)
            {
                Interlocked.Increment(ref _addresses);
            }

            return count;
        }
    }
}

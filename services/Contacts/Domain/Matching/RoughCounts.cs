using System.Numerics;

namespace Crm.Contacts.Domain.Matching;

/// <summary>How often values occur, counted by their hash in a byte each: sometimes more than it is, never less.</summary>
internal sealed class RoughCounts(int values)
{
    private readonly byte[] counts = new byte[BitOperations.RoundUpToPowerOf2((uint)Math.Clamp(16L * values, 1 << 10, 1 << 26))];

    public void Add(int hash)
    {
        ref var count = ref counts[hash & (counts.Length - 1)];
        count += (byte)(count < byte.MaxValue ? 1 : 0);
    }

    /// <summary>False when the value certainly occurs fewer times.</summary>
    public bool MayBe(int times, int hash) => counts[hash & (counts.Length - 1)] >= times;
}

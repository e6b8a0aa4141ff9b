using System.Buffers.Binary;
using System.Numerics;

namespace System.IO.Hashing;

/// <summary>The 64-bit xxHash (github.com/Cyan4973/xxHash, doc/xxhash_spec.md), one-shot form; the result is big-endian.</summary>
public static class XxHash64
{
    private const ulong Prime1 = 0x9E3779B185EBCA87, Prime2 = 0xC2B2AE3D27D4EB4F, Prime3 = 0x165667B19E3779F9,
        Prime4 = 0x85EBCA77C2B2AE63, Prime5 = 0x27D4EB2F165667C5;

    public static byte[] Hash(byte[] source)
    {
        ArgumentNullException.ThrowIfNull(source);
        return Hash(source.AsSpan(), 0);
    }

    public static byte[] Hash(byte[] source, long seed)
    {
        ArgumentNullException.ThrowIfNull(source);
        return Hash(source.AsSpan(), seed);
    }

    public static byte[] Hash(ReadOnlySpan<byte> source, long seed = 0)
    {
        var result = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(result, HashToUInt64(source, seed));
        return result;
    }

    public static ulong HashToUInt64(ReadOnlySpan<byte> source, long seed = 0)
    {
        var start = unchecked((ulong)seed);
        var rest = source;
        ulong acc;

        if (source.Length >= 32)
        {
            ulong a = start + Prime1 + Prime2, b = start + Prime2, c = start, d = start - Prime1;
            while (rest.Length >= 32)
            {
                a = Round(a, Lane(rest));
                b = Round(b, Lane(rest[8..]));
                c = Round(c, Lane(rest[16..]));
                d = Round(d, Lane(rest[24..]));
                rest = rest[32..];
            }

            acc = BitOperations.RotateLeft(a, 1) + BitOperations.RotateLeft(b, 7)
                + BitOperations.RotateLeft(c, 12) + BitOperations.RotateLeft(d, 18);
            acc = Merge(Merge(Merge(Merge(acc, a), b), c), d);
        }
        else
        {
            acc = start + Prime5;
        }

        acc += (ulong)source.Length;

        for (; rest.Length >= 8; rest = rest[8..])
        {
            acc = BitOperations.RotateLeft(acc ^ Round(0, Lane(rest)), 27) * Prime1 + Prime4;
        }

        if (rest.Length >= 4)
        {
            acc = BitOperations.RotateLeft(acc ^ (BinaryPrimitives.ReadUInt32LittleEndian(rest) * Prime1), 23) * Prime2 + Prime3;
            rest = rest[4..];
        }

        foreach (var value in rest)
        {
            acc = BitOperations.RotateLeft(acc ^ (value * Prime5), 11) * Prime1;
        }

        acc = (acc ^ (acc >> 33)) * Prime2;
        acc = (acc ^ (acc >> 29)) * Prime3;
        return acc ^ (acc >> 32);
    }

    private static ulong Lane(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt64LittleEndian(bytes);

    private static ulong Round(ulong acc, ulong lane) => BitOperations.RotateLeft(acc + lane * Prime2, 31) * Prime1;

    private static ulong Merge(ulong acc, ulong lane) => (acc ^ Round(0, lane)) * Prime1 + Prime4;
}

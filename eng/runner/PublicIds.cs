using System.Buffers.Binary;

namespace Crm.Runner;

/// <summary>Ids as the documentation describes them, written from outside and not with the product's code: 26 digits of Crockford base32 over a uuid.</summary>
public static class PublicIds
{
    private const string Alphabet = "0123456789abcdefghjkmnpqrstvwxyz";

    public static string Format(string prefix, Guid id)
    {
        var value = BinaryPrimitives.ReadUInt128BigEndian(id.ToByteArray(bigEndian: true));
        var digits = new char[26];
        for (var i = digits.Length - 1; i >= 0; i--, value >>= 5)
            digits[i] = Alphabet[(int)(value & 31)];
        return $"{prefix}_{new string(digits)}";
    }

    public static Guid Parse(string id)
    {
        UInt128 value = 0;
        foreach (var digit in id[(id.IndexOf('_', StringComparison.Ordinal) + 1)..])
            value = (value << 5) | (uint)Alphabet.IndexOf(digit, StringComparison.Ordinal);
        var bytes = new byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, value);
        return new Guid(bytes, bigEndian: true);
    }
}

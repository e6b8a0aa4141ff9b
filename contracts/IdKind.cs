using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace Crm.Contracts;

/// <summary>
/// A kind of public id: a prefix and 26 characters of lower-case Crockford base32 over a UUIDv7,
/// so ids sort by creation time. Columns hold the uuid; JSON, proto, events and logs hold the text.
/// </summary>
public sealed class IdKind(string prefix)
{
    private const string Alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
    private const int Digits = 26;

    public string Prefix { get; } = prefix;

    public string Format(Guid id)
    {
        Span<byte> bytes = stackalloc byte[16];
        id.TryWriteBytes(bytes, bigEndian: true, out _);
        var value = BinaryPrimitives.ReadUInt128BigEndian(bytes);
        return string.Create(Prefix.Length + 1 + Digits, (Prefix, value), static (text, state) =>
        {
            state.Prefix.CopyTo(text);
            text[state.Prefix.Length] = '_';
            var rest = state.value;
            for (var i = text.Length - 1; i > state.Prefix.Length; i--)
            {
                text[i] = Alphabet[(int)(rest & 31)];
                rest >>= 5;
            }
        });
    }

    [return: NotNullIfNotNull(nameof(id))]
    public string? Format(Guid? id) => id is { } value ? Format(value) : null;

    /// <summary>For what an event of another service says.</summary>
    /// <exception cref="FormatException">It is not such an id.</exception>
    public Guid Parse(string text) => TryParse(text, out var id) ? id : throw new FormatException($"'{text}' is not an id of kind {Prefix}.");

    /// <summary>False for anything that <see cref="Format(Guid)"/> would not write, upper case included.</summary>
    public bool TryParse([NotNullWhen(true)] string? text, out Guid id)
    {
        id = Guid.Empty;
        if (text is null || text.Length != Prefix.Length + 1 + Digits
            || !text.StartsWith(Prefix, StringComparison.Ordinal) || text[Prefix.Length] != '_')
        {
            return false;
        }

        UInt128 value = 0;
        for (var i = Prefix.Length + 1; i < text.Length; i++)
        {
            var digit = Alphabet.IndexOf(text[i], StringComparison.Ordinal);
            // The first digit carries the top three of 128 bits only.
            if (digit < 0 || (i == Prefix.Length + 1 && digit > 7))
            {
                return false;
            }

            value = (value << 5) | (uint)digit;
        }

        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, value);
        id = new Guid(bytes, bigEndian: true);
        return true;
    }
}

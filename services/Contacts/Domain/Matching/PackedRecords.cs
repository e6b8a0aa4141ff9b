using System.Buffers;
using System.Collections;
using System.Text;

namespace Crm.Contacts.Domain.Matching;

/// <summary>
/// Many records in little memory: bytes, about a hundred for each, of which a record is made whenever one is read. Texts
/// that recur (names, streets, places, dates) are kept once. Written by one thread, then read by any number.
/// </summary>
internal sealed class PackedRecords : IReadOnlyList<MatchRecord>
{
    private const int ChunkBits = 12;
    private const int RecordsOfChunk = 1 << ChunkBits;

    private readonly List<byte[]> chunks = [];
    private readonly List<int> offsets = [];
    private readonly List<string> texts = [];
    private Dictionary<string, int>? places = new(StringComparer.Ordinal);
    private ArrayBufferWriter<byte>? chunk = new();

    public int Count => offsets.Count;

    public MatchRecord this[int index]
    {
        get
        {
            var bytes = chunks[index >> ChunkBits].AsSpan(offsets[index]);
            var id = new Guid(bytes[..16]);
            bytes = bytes[16..];
            var organization = ReadNumber(ref bytes) == 1;
            return new(
                id, organization, ReadText(ref bytes), ReadText(ref bytes), ReadTexts(ref bytes), ReadText(ref bytes), ReadText(ref bytes), ReadOwn(ref bytes), ReadOwn(ref bytes), ReadIds(ref bytes), ReadAddresses(ref bytes));
        }
    }

    public void Add(MatchRecord record)
    {
        offsets.Add(chunk!.WrittenCount);
        record.Id.TryWriteBytes(chunk.GetSpan(16));
        chunk.Advance(16);
        Write(record.Organization ? 1 : 0);
        Write(record.Given);
        Write(record.Family);
        Write(record.NameTokens.Length);
        foreach (var word in record.NameTokens)
        {
            Write(word);
        }

        Write(record.LegalForm);
        Write(record.BirthDate);
        WriteOwn(record.Emails);
        WriteOwn(record.Phones);
        Write(record.ExternalIds.Length);
        foreach (var (system, value) in record.ExternalIds)
        {
            Write(system);
            WriteOwn(value);
        }

        Write(record.Addresses.Length);
        foreach (var address in record.Addresses)
        {
            Write(address.Number);
            Write(address.Street);
            Write(address.Second);
            Write(address.City);
            Write(address.PostalCode);
        }

        if ((offsets.Count & (RecordsOfChunk - 1)) == 0)
        {
            CloseChunk();
        }
    }

    /// <summary>Nothing more is added; before this nothing is read.</summary>
    public void Complete()
    {
        CloseChunk();
        (places, chunk) = (null, null);
        offsets.TrimExcess();
        texts.TrimExcess();
    }

    public IEnumerator<MatchRecord> GetEnumerator()
    {
        for (var i = 0; i < Count; i++)
        {
            yield return this[i];
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private void CloseChunk()
    {
        chunks.Add(chunk!.WrittenSpan.ToArray());
        chunk.ResetWrittenCount();
    }

    /// <summary>Seven bits a byte, the lowest first; a set eighth bit says that more follow.</summary>
    private void Write(int number)
    {
        var bytes = chunk!.GetSpan(5);
        var length = 0;
        for (var rest = (uint)number; ; rest >>= 7)
        {
            bytes[length++] = (byte)(rest < 0x80 ? rest : rest | 0x80);
            if (rest < 0x80)
            {
                break;
            }
        }

        chunk.Advance(length);
    }

    private void Write(string text)
    {
        ref var place = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(places!, text, out var known);
        if (!known)
        {
            place = texts.Count;
            texts.Add(text);
        }

        Write(place);
    }

    /// <summary>Of texts that hardly two records have, each in its place.</summary>
    private void WriteOwn(string[] values)
    {
        Write(values.Length);
        foreach (var value in values)
        {
            WriteOwn(value);
        }
    }

    private void WriteOwn(string value)
    {
        var length = Encoding.UTF8.GetByteCount(value);
        Write(length);
        chunk!.Advance(Encoding.UTF8.GetBytes(value, chunk.GetSpan(length)));
    }

    private static int ReadNumber(ref Span<byte> bytes)
    {
        uint number = 0;
        for (var (at, shift) = (0, 0); ; at++, shift += 7)
        {
            number |= (bytes[at] & 0x7fu) << shift;
            if (bytes[at] < 0x80)
            {
                bytes = bytes[(at + 1)..];
                return (int)number;
            }
        }
    }

    private string ReadText(ref Span<byte> bytes) => texts[ReadNumber(ref bytes)];

    private string[] ReadTexts(ref Span<byte> bytes)
    {
        var length = ReadNumber(ref bytes);
        var values = length == 0 ? [] : new string[length];
        for (var i = 0; i < length; i++)
        {
            values[i] = ReadText(ref bytes);
        }

        return values;
    }

    private static string[] ReadOwn(ref Span<byte> bytes)
    {
        var length = ReadNumber(ref bytes);
        var values = length == 0 ? [] : new string[length];
        for (var i = 0; i < length; i++)
        {
            values[i] = ReadOwnText(ref bytes);
        }

        return values;
    }

    private static string ReadOwnText(ref Span<byte> bytes)
    {
        var length = ReadNumber(ref bytes);
        var value = Encoding.UTF8.GetString(bytes[..length]);
        bytes = bytes[length..];
        return value;
    }

    private (string System, string Value)[] ReadIds(ref Span<byte> bytes)
    {
        var length = ReadNumber(ref bytes);
        var values = length == 0 ? [] : new (string, string)[length];
        for (var i = 0; i < length; i++)
        {
            var system = ReadText(ref bytes);
            values[i] = (system, ReadOwnText(ref bytes));
        }

        return values;
    }

    private NormalAddress[] ReadAddresses(ref Span<byte> bytes)
    {
        var length = ReadNumber(ref bytes);
        var values = length == 0 ? [] : new NormalAddress[length];
        for (var i = 0; i < length; i++)
        {
            values[i] = new(ReadText(ref bytes), ReadText(ref bytes), ReadText(ref bytes), ReadText(ref bytes), ReadText(ref bytes));
        }

        return values;
    }
}

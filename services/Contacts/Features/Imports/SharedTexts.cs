using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using Crm.Contracts;
using Crm.Hosting.Web;
using DocumentFormat.OpenXml.Packaging;
using Spreadsheet = DocumentFormat.OpenXml.Spreadsheet;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// The texts that cells of a workbook name by number. As UTF-8 one after the other in blocks, each with its length before it:
/// a third of what strings would take.
/// </summary>
internal sealed class SharedTexts
{
    private const int OffsetBits = 16;
    private const int BlockSize = 1 << OffsetBits;

    /// <summary>In memory.</summary>
    private const long MostBytes = 100_000_000;

    private readonly List<byte[]> _blocks = [];
    private readonly ArrayBufferWriter<byte> _block = new(2 * BlockSize);

    /// <summary>Of each text the number of its block and its offset there.</summary>
    private readonly List<int> _places = [];

    private long _bytes;

    public int Count => _places.Count;

    public string this[int number]
    {
        get
        {
            var (block, offset) = (_places[number] >> OffsetBits, _places[number] & (BlockSize - 1));
            ReadOnlySpan<byte> bytes = block < _blocks.Count ? _blocks[block] : _block.WrittenSpan;
            var length = BinaryPrimitives.ReadInt32LittleEndian(bytes[offset..]);
            return Encoding.UTF8.GetString(bytes.Slice(offset + sizeof(int), length));
        }
    }

    /// <param name="part">Null when no text is shared.</param>
    public static SharedTexts Read(SharedStringTablePart? part, CancellationToken ct)
    {
        var texts = new SharedTexts();
        if (part is null)
        {
            return texts;
        }

        using var reader = new PartReader(part);
        while (reader.Read())
        {
            ct.ThrowIfCancellationRequested();
            if (reader.Starts<Spreadsheet.SharedStringItem>())
            {
                texts.Add(reader.ReadRuns<Spreadsheet.SharedStringItem>());
            }
        }

        return texts;
    }

    private void Add(string text)
    {
        var length = Encoding.UTF8.GetByteCount(text);
        _bytes += length + (2 * sizeof(int));
        if (_bytes > MostBytes)
        {
            throw new ProblemException(ProblemCodes.Unprocessable, "The workbook has more text than is read at once; send it as text/csv.");
        }

        _places.Add((_blocks.Count << OffsetBits) | _block.WrittenCount);
        BinaryPrimitives.WriteInt32LittleEndian(_block.GetSpan(sizeof(int)), length);
        _block.Advance(sizeof(int));
        _block.Advance(Encoding.UTF8.GetBytes(text, _block.GetSpan(length)));
        if (_block.WrittenCount >= BlockSize)
        {
            _blocks.Add(_block.WrittenSpan.ToArray());
            _block.ResetWrittenCount();
        }
    }
}

using System.Globalization;
using System.Text;
using System.Xml;
using Crm.Contracts;
using Crm.Hosting.Web;
using DocumentFormat.OpenXml;
using DocumentFormat.OpenXml.Packaging;
using Spreadsheet = DocumentFormat.OpenXml.Spreadsheet;

namespace Crm.Contacts.Features.Imports;

/// <summary>A part of a workbook, element by element, of which only the present one is in memory, however large the part is.</summary>
internal sealed class PartReader : IDisposable
{
    /// <summary>Bytes of an element without those in it.</summary>
    private const int LargestElement = 4 * TextRecords.LongestRecord;

    /// <summary>Elements in each other; those that are read here are seven.</summary>
    private const int Deepest = 100;

    private readonly StringBuilder _runs = new();
    private readonly PartStream _stream;
    private readonly OpenXmlPartReader _reader;

    public PartReader(OpenXmlPart part)
    {
        _stream = new PartStream(part.GetStream(FileMode.Open, FileAccess.Read));
        _reader = new OpenXmlPartReader(_stream, part.Features, new OpenXmlPartReaderOptions { IgnoreWhitespace = true });
    }

    public bool IsStart => _reader.IsStartElement;

    /// <summary>Of the element that starts here.</summary>
    public string Text => Unescaped(_reader.GetText());

    /// <summary>The next start or end of an element; false after the last one.</summary>
    public bool Read()
    {
        _stream.Allow();
        var isOne = _reader.Read();
        if (isOne && _reader.Depth > Deepest)
        {
            throw new InvalidDataException("The elements are nested too deeply.");
        }

        return isOne;
    }

    public bool Is<T>() where T : OpenXmlElement => _reader.ElementType == typeof(T);

    public bool Starts<T>() where T : OpenXmlElement => _reader.IsStartElement && Is<T>();

    public bool Ends<T>() where T : OpenXmlElement => _reader.IsEndElement && Is<T>();

    /// <summary>Of the element that starts here; null when it has none of the name.</summary>
    public string? Attribute(string name)
    {
        var attributes = _reader.Attributes;
        for (var i = 0; i < attributes.Count; i++)
        {
            if (attributes[i].LocalName == name)
            {
                return attributes[i].Value;
            }
        }

        return null;
    }

    /// <summary>An attribute that is a whole number.</summary>
    public int? Number(string name) => int.TryParse(Attribute(name), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;

    /// <summary>The text of the <typeparamref name="TItem"/> that starts here, its runs joined; without what says how it is pronounced.</summary>
    public string ReadRuns<TItem>() where TItem : OpenXmlElement
    {
        _runs.Clear();
        var isPronunciation = false;
        while (Read() && !Ends<TItem>())
        {
            if (Is<Spreadsheet.PhoneticRun>())
            {
                isPronunciation = IsStart;
            }
            else if (!isPronunciation && Starts<Spreadsheet.Text>())
            {
                _runs.Append(_reader.GetText());
                if (_runs.Length > TextRecords.LongestRecord)
                {
                    throw TooLong();
                }
            }
        }

        return Unescaped(_runs.ToString());
    }

    public void Dispose()
    {
        _reader.Dispose();
        _stream.Dispose();
    }

    /// <summary>Characters that XML cannot have, and some more, are written as _x000D_ (ECMA-376, part 1, 22.9.2.19).</summary>
    private static string Unescaped(string text)
    {
        if (!text.Contains("_x", StringComparison.Ordinal))
        {
            return text;
        }

        var decoded = XmlConvert.DecodeName(text) ?? "";
        return decoded.Contains('\0', StringComparison.Ordinal) ? throw new ProblemException(ProblemCodes.BadRequest, "A cell has a zero byte.") : decoded;
    }

    private static ProblemException TooLong() => new(ProblemCodes.BadRequest, $"A cell has more than {TextRecords.LongestRecord} characters.");

    /// <summary>Ends the reading before a larger element than is allowed has been unpacked: a few bytes can be any number then.</summary>
    private sealed class PartStream(Stream part) : Stream
    {
        private int _left = LargestElement;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        /// <summary>Another element.</summary>
        public void Allow() => _left = LargestElement;

        public override int Read(Span<byte> buffer)
        {
            var read = part.Read(buffer);
            _left -= read;
            return _left >= 0 ? read : throw TooLong();
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                part.Dispose();
            }

            base.Dispose(disposing);
        }
    }
}

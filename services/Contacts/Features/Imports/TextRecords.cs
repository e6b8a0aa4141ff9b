using System.Text;
using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// Records of a text as it streams in: lines, or rows of CSV (RFC 4180, also with ; tab or | between the cells). Memory
/// is one record and one buffer, whatever the size of the text.
/// </summary>
/// <param name="encoding">Of a text that does not begin with a byte order mark.</param>
internal sealed class TextRecords(Stream body, Encoding encoding) : IRowRecords, IDisposable
{
    /// <summary>Characters.</summary>
    public const int LongestRecord = 1_000_000;

    private static readonly char[] Delimiters = [',', ';', '\t', '|'];
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: true, throwOnInvalidBytes: true);

    private readonly StreamReader _reader = new(body, encoding, detectEncodingFromByteOrderMarks: true, bufferSize: 128 * 1024, leaveOpen: true);
    private readonly char[] _buffer = new char[64 * 1024];
    private readonly StringBuilder _text = new();
    private int _position;
    private int _length;
    private int _record;
    private char _delimiter = ',';

    /// <summary>Of the charset of a Content-Type, strict; UTF-8 when it names none, null when it is not known.</summary>
    public static Encoding? EncodingOf(string? charset)
    {
        if (string.IsNullOrEmpty(charset) || string.Equals(charset, Utf8.WebName, StringComparison.OrdinalIgnoreCase))
        {
            return Utf8;
        }

        try
        {
            return CodePagesEncodingProvider.Instance.GetEncoding(charset, EncoderFallback.ExceptionFallback, DecoderFallback.ExceptionFallback)
                ?? Encoding.GetEncoding(charset, EncoderFallback.ExceptionFallback, DecoderFallback.ExceptionFallback);
        }
        catch (Exception exception) when (exception is ArgumentException or NotSupportedException)
        {
            return null;
        }
    }

    /// <summary>The next line that is not blank; null at the end.</summary>
    public async ValueTask<string?> ReadLineAsync(CancellationToken ct)
    {
        while (true)
        {
            _text.Clear();
            var ended = false;
            while (!ended)
            {
                if (_position == _length && !await FillAsync(ct))
                {
                    break;
                }

                var rest = _buffer.AsSpan(_position, _length - _position);
                var end = rest.IndexOf('\n');
                Add(end < 0 ? rest : rest[..end]);
                _position += end < 0 ? rest.Length : end + 1;
                ended = end >= 0;
            }

            if (!ended && _text.Length == 0)
            {
                return null;
            }

            var line = _text.ToString().Trim();
            if (line.Length > 0)
            {
                _record++;
                return line;
            }
        }
    }

    /// <summary>The first row; what is between its cells is found out here.</summary>
    public async ValueTask<IReadOnlyList<string>?> ReadHeaderAsync(CancellationToken ct)
    {
        if (!await FillAsync(ct))
        {
            return null;
        }

        if (Declared(_buffer.AsSpan(0, _length)) is { } declared)
        {
            (_delimiter, _position) = declared;
        }
        else
        {
            _delimiter = Delimiters.MaxBy(d => CountInFirst(_buffer.AsSpan(0, _length), d));
        }

        return await ReadRowAsync(ct);
    }

    /// <summary>The next row of which not all cells are blank; null at the end.</summary>
    public async ValueTask<IReadOnlyList<string>?> ReadRowAsync(CancellationToken ct)
    {
        var cells = new List<string>();
        while (true)
        {
            _text.Clear();
            var quoted = false;
            var wasQuoted = false;
            var size = 0;
            while (true)
            {
                if (_position == _length && !await FillAsync(ct))
                {
                    if (quoted)
                    {
                        throw Broken("A quotation mark is never closed.");
                    }

                    return Done() ? cells : null;
                }

                var character = _buffer[_position++];
                if (++size > LongestRecord)
                {
                    throw Broken($"A row has more than {LongestRecord} characters; is a quotation mark never closed?");
                }

                if (quoted)
                {
                    if (character != '"')
                    {
                        Add(character);
                    }
                    else if (await PeekAsync(ct) == '"')
                    {
                        Add('"');
                        _position++;
                    }
                    else
                    {
                        quoted = false;
                    }
                }
                else if (character == '"' && _text.Length == 0 && !wasQuoted)
                {
                    quoted = wasQuoted = true;
                }
                else if (character == _delimiter)
                {
                    cells.Add(_text.ToString());
                    _text.Clear();
                    wasQuoted = false;
                }
                else if (character is '\n' or '\r')
                {
                    if (character == '\r' && await PeekAsync(ct) == '\n')
                    {
                        _position++;
                    }

                    if (Done())
                    {
                        return cells;
                    }

                    break;
                }
                else
                {
                    Add(character);
                }
            }
        }

        // Whether there is something in the row.
        bool Done()
        {
            cells.Add(_text.ToString());
            if (cells.TrueForAll(string.IsNullOrWhiteSpace))
            {
                cells.Clear();
                return false;
            }

            _record++;
            return true;
        }
    }

    public void Dispose() => _reader.Dispose();

    /// <summary>What Excel is told of the delimiter by a first line such as <c>sep=;</c>, and where that line ends; null when it tells nothing.</summary>
    private static (char Delimiter, int End)? Declared(ReadOnlySpan<char> text)
    {
        const string Word = "sep=";
        var line = text.TrimStart("\r\n");
        var begin = text.Length - line.Length;
        line = line.IndexOfAny('\r', '\n') is >= 0 and var length ? line[..length] : line;
        return line.Length == Word.Length + 1 && line.StartsWith(Word, StringComparison.OrdinalIgnoreCase) && !char.IsLetterOrDigit(line[^1]) && line[^1] != '"'
            ? (line[^1], begin + line.Length)
            : null;
    }

    /// <summary>How often it is in the first row outside quotation marks, which open only where a cell begins.</summary>
    private static int CountInFirst(ReadOnlySpan<char> text, char delimiter)
    {
        text = text.TrimStart("\r\n");
        var (count, begins, quoted) = (0, true, false);
        for (var i = 0; i < text.Length && (quoted || text[i] is not ('\r' or '\n')); i++)
        {
            if (quoted && text[i] == '"' && i + 1 < text.Length && text[i + 1] == '"')
            {
                i++;
            }
            else if (quoted)
            {
                quoted = text[i] != '"';
            }
            else if (Delimiters.Contains(text[i]))
            {
                (count, begins) = (text[i] == delimiter ? count + 1 : count, true);
            }
            else
            {
                (quoted, begins) = (begins && text[i] == '"', false);
            }
        }

        return count;
    }

    private void Add(ReadOnlySpan<char> text)
    {
        if (text.Contains('\0'))
        {
            throw Broken("The text has a zero byte.");
        }

        if (_text.Length + text.Length > LongestRecord)
        {
            throw Broken($"A line has more than {LongestRecord} characters.");
        }

        _text.Append(text);
    }

    private void Add(char character) => _text.Append(character == '\0' ? throw Broken("The text has a zero byte.") : character);

    /// <summary>The next character without taking it; -1 at the end.</summary>
    private async ValueTask<int> PeekAsync(CancellationToken ct) => _position < _length || await FillAsync(ct) ? _buffer[_position] : -1;

    private async ValueTask<bool> FillAsync(CancellationToken ct)
    {
        try
        {
            // All that there is room for, however the text comes in: the first row says what stands between its cells.
            _length = await _reader.ReadBlockAsync(_buffer.AsMemory(), ct);
        }
        catch (DecoderFallbackException)
        {
            throw Broken($"The text is not {_reader.CurrentEncoding.WebName}; name its charset, such as Content-Type: text/csv; charset=windows-1252.");
        }

        _position = 0;
        return _length > 0;
    }

    private ProblemException Broken(string why) => new(ProblemCodes.BadRequest, $"After record {_record}: {why}");
}

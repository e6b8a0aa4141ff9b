using System.Globalization;
using Crm.Contracts;
using Crm.Hosting.Web;
using DocumentFormat.OpenXml.Packaging;
using Spreadsheet = DocumentFormat.OpenXml.Spreadsheet;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// Rows of the first visible worksheet of a workbook, with the texts that CSV would have: numbers as they are written, dates
/// in ISO 8601, true and false, nothing for an error. Memory is one row and the texts that cells share.
/// </summary>
internal sealed class SheetRecords : IRowRecords, IDisposable
{
    /// <summary>More than Excel has.</summary>
    private const int MostStyles = 100_000;

    private readonly ReceivedWorkbook _workbook;
    private readonly bool _from1904;
    private readonly List<bool> _dates;
    private readonly SharedTexts _texts;
    private readonly PartReader _sheet;
    private int _columns;
    private int _record;

    private SheetRecords(ReceivedWorkbook workbook, CancellationToken ct)
    {
        _workbook = workbook;
        (var sheet, _from1904) = FindSheet(workbook.Book);
        _dates = workbook.Book.WorkbookStylesPart is { } styles ? ReadStyles(styles) : [];
        _texts = SharedTexts.Read(workbook.Book.SharedStringTablePart, ct);
        _sheet = new PartReader(sheet);
    }

    /// <exception cref="ProblemException">As <see cref="ReceivedWorkbook.ReceiveAsync"/>.</exception>
    public static async Task<SheetRecords> ReceiveAsync(HttpRequest request, CancellationToken ct)
    {
        var workbook = await ReceivedWorkbook.ReceiveAsync(request, ct);
        try
        {
            return ReceivedWorkbook.Guarded(() => new SheetRecords(workbook, ct));
        }
        catch
        {
            workbook.Dispose();
            throw;
        }
    }

    public ValueTask<IReadOnlyList<string>?> ReadHeaderAsync(CancellationToken ct)
    {
        var header = ReceivedWorkbook.Guarded(() => ReadRow(ct));
        _columns = header?.Count ?? 0;
        return new(header);
    }

    public ValueTask<IReadOnlyList<string>?> ReadRowAsync(CancellationToken ct) => new(ReceivedWorkbook.Guarded(() => ReadRow(ct)));

    public void Dispose()
    {
        _sheet.Dispose();
        _workbook.Dispose();
    }

    private static (WorksheetPart Sheet, bool From1904) FindSheet(WorkbookPart book)
    {
        var from1904 = false;
        using var reader = new PartReader(book);
        while (reader.Read())
        {
            if (reader.Starts<Spreadsheet.WorkbookProperties>())
            {
                from1904 = IsTrue(reader.Attribute("date1904"));
            }
            else if (reader.Starts<Spreadsheet.Sheet>() && reader.Attribute("state") is null or "visible"
                && reader.Attribute("id") is { } id && book.TryGetPartById(id, out var part) && part is WorksheetPart sheet)
            {
                return (sheet, from1904);
            }
        }

        throw new ProblemException(ProblemCodes.BadRequest, "The workbook has no visible worksheet.");
    }

    /// <summary>By the number of a style whether its cells are dates.</summary>
    private static List<bool> ReadStyles(WorkbookStylesPart part)
    {
        var (codes, formats) = (new Dictionary<int, bool>(), new List<int>());
        var (inCodes, inFormats) = (false, false);
        using var reader = new PartReader(part);
        while (reader.Read())
        {
            if (reader.Is<Spreadsheet.NumberingFormats>())
            {
                inCodes = reader.IsStart;
            }
            else if (reader.Is<Spreadsheet.CellFormats>())
            {
                inFormats = reader.IsStart;
            }
            else if (inCodes && reader.Starts<Spreadsheet.NumberingFormat>() && reader.Number("numFmtId") is { } number)
            {
                codes[number] = CellNumbers.IsDate(reader.Attribute("formatCode") ?? "");
            }
            else if (inFormats && reader.Starts<Spreadsheet.CellFormat>())
            {
                formats.Add(reader.Number("numFmtId") ?? 0);
            }

            if (codes.Count > MostStyles || formats.Count > MostStyles)
            {
                throw new InvalidDataException("The workbook has too many styles.");
            }
        }

        return formats.ConvertAll(f => codes.TryGetValue(f, out var isDate) ? isDate : CellNumbers.IsDate(f));
    }

    private List<string>? ReadRow(CancellationToken ct)
    {
        while (_sheet.Read() && !_sheet.Ends<Spreadsheet.SheetData>())
        {
            ct.ThrowIfCancellationRequested();
            if (_sheet.Starts<Spreadsheet.Row>() && ReadCells() is { Count: > 0 } cells)
            {
                while (cells.Count < _columns)
                {
                    cells.Add("");
                }

                _record++;
                return cells;
            }
        }

        return null;
    }

    /// <summary>Of the row that starts here, up to the last one that has a text; none when there is only white space.</summary>
    private List<string> ReadCells()
    {
        var cells = new List<string>(_columns);
        var (next, size, isBlank) = (0, 0, true);
        while (_sheet.Read() && !_sheet.Ends<Spreadsheet.Row>())
        {
            if (!_sheet.Starts<Spreadsheet.Cell>())
            {
                continue;
            }

            // A cell far away in a row is one too many, and not thousands.
            var column = Math.Min(ColumnOf(_sheet.Attribute("r")) ?? next, ReceiveImport.MostColumns);
            next = column + 1;
            var text = ReadCell();
            if (text.Length == 0)
            {
                continue;
            }

            size += text.Length;
            if (size > TextRecords.LongestRecord)
            {
                throw new ProblemException(ProblemCodes.BadRequest, $"After record {_record}: A row has more than {TextRecords.LongestRecord} characters.");
            }

            while (cells.Count <= column)
            {
                cells.Add("");
            }

            cells[column] = text;
            isBlank &= string.IsNullOrWhiteSpace(text);
        }

        return isBlank ? [] : cells;
    }

    /// <summary>The text of the cell that starts here.</summary>
    private string ReadCell()
    {
        var (type, style) = (_sheet.Attribute("t"), _sheet.Number("s") ?? 0);
        var value = "";
        while (_sheet.Read() && !_sheet.Ends<Spreadsheet.Cell>())
        {
            if (_sheet.Starts<Spreadsheet.CellValue>())
            {
                value = _sheet.Text;
            }
            else if (_sheet.Starts<Spreadsheet.InlineString>())
            {
                value = _sheet.ReadRuns<Spreadsheet.InlineString>();
            }
        }

        return value.Length == 0 ? "" : type switch
        {
            "s" => int.TryParse(value, NumberStyles.Integer, CultureInfo.InvariantCulture, out var number) && number >= 0 && number < _texts.Count
                ? _texts[number]
                : throw new InvalidDataException("A cell has a text that is not there."),
            "str" or "inlineStr" => value,
            "b" => IsTrue(value) ? "true" : "false",
            "e" => "",
            "d" => DateTimeOffset.TryParse(value, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var date) ? CellNumbers.ToText(date.DateTime) : value,
            _ => (style < _dates.Count && _dates[style] ? CellNumbers.ToDate(value, _from1904) : null) ?? CellNumbers.ToText(value),
        };
    }

    /// <summary>Of a place such as C7 the column, counted from 0; null when it names none.</summary>
    private static int? ColumnOf(string? place)
    {
        var column = 0;
        foreach (var letter in place ?? "")
        {
            if (!char.IsAsciiLetterUpper(letter))
            {
                break;
            }

            column = Math.Min((column * 26) + (letter - 'A' + 1), 1_000_000);
        }

        return column == 0 ? null : column - 1;
    }

    private static bool IsTrue(string? value) => value is "1" or "true";
}

using System.Globalization;
using DocumentFormat.OpenXml;
using DocumentFormat.OpenXml.Packaging;
using Spreadsheet = DocumentFormat.OpenXml.Spreadsheet;

namespace Contacts.Tests;

/// <summary>A workbook with a hidden sheet before the one that is meant.</summary>
internal static class TestWorkbook
{
    public const string ContentType = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

    /// <summary>Styles of numbers.</summary>
    public const uint Day = 1;
    public const uint Moment = 2;
    public const uint Days = 3;

    /// <summary>Shared texts: one plain, one of several runs that says how it is pronounced.</summary>
    public const int Byron = 0;
    public const int Ada = 1;

    public static byte[] Of(params Spreadsheet.Row[] rows) => Of(from1904: false, rows);

    public static byte[] Of(bool from1904, params Spreadsheet.Row[] rows)
    {
        using var file = new MemoryStream();
        using (var document = SpreadsheetDocument.Create(file, SpreadsheetDocumentType.Workbook))
        {
            var book = document.AddWorkbookPart();
            book.Workbook = new Spreadsheet.Workbook(
                new Spreadsheet.WorkbookProperties { Date1904 = from1904 },
                new Spreadsheet.Sheets(
                    new Spreadsheet.Sheet { Name = "Hidden", SheetId = 1U, Id = Sheet(book, [Header("hidden")]), State = Spreadsheet.SheetStateValues.Hidden },
                    new Spreadsheet.Sheet { Name = "People", SheetId = 2U, Id = Sheet(book, rows) }));
            book.AddNewPart<WorkbookStylesPart>().Stylesheet = new Spreadsheet.Stylesheet(
                new Spreadsheet.NumberingFormats(
                    new Spreadsheet.NumberingFormat { NumberFormatId = 164U, FormatCode = "dd\\.mm\\.yyyy\\ hh:mm" },
                    new Spreadsheet.NumberingFormat { NumberFormatId = 165U, FormatCode = "[Red]0\" days\"" }),
                new Spreadsheet.CellStyleFormats(new Spreadsheet.CellFormat { NumberFormatId = 14U }),
                new Spreadsheet.CellFormats(
                    new Spreadsheet.CellFormat(),
                    new Spreadsheet.CellFormat { NumberFormatId = 14U },
                    new Spreadsheet.CellFormat { NumberFormatId = 164U },
                    new Spreadsheet.CellFormat { NumberFormatId = 165U }));
            book.AddNewPart<SharedStringTablePart>().SharedStringTable = new Spreadsheet.SharedStringTable(
                new Spreadsheet.SharedStringItem(new Spreadsheet.Text("Byron")),
                new Spreadsheet.SharedStringItem(
                    new Spreadsheet.Run(new Spreadsheet.Text("A")), new Spreadsheet.Run(new Spreadsheet.Text("da")), new Spreadsheet.PhoneticRun(new Spreadsheet.Text("eida"))));
        }

        return file.ToArray();
    }

    public static Spreadsheet.Row Header(params string[] columns) => Row([.. columns.Select((c, i) => Text($"{(char)('A' + i)}1", c))]);

    public static Spreadsheet.Row Row(params Spreadsheet.Cell[] cells) => new(cells.Cast<OpenXmlElement>());

    public static Spreadsheet.Cell Text(string place, string text) =>
        new() { CellReference = place, DataType = Spreadsheet.CellValues.InlineString, InlineString = new Spreadsheet.InlineString(new Spreadsheet.Text(text)) };

    public static Spreadsheet.Cell Number(string place, string number, uint style = 0) => new() { CellReference = place, StyleIndex = style, CellValue = new Spreadsheet.CellValue(number) };

    public static Spreadsheet.Cell Shared(string place, int number) =>
        new() { CellReference = place, DataType = Spreadsheet.CellValues.SharedString, CellValue = new Spreadsheet.CellValue(number.ToString(CultureInfo.InvariantCulture)) };

    public static Spreadsheet.Cell True(string place) => new() { CellReference = place, DataType = Spreadsheet.CellValues.Boolean, CellValue = new Spreadsheet.CellValue("1") };

    public static Spreadsheet.Cell Error(string place) => new() { CellReference = place, DataType = Spreadsheet.CellValues.Error, CellValue = new Spreadsheet.CellValue("#N/A") };

    private static string Sheet(WorkbookPart book, IEnumerable<Spreadsheet.Row> rows)
    {
        var part = book.AddNewPart<WorksheetPart>();
        part.Worksheet = new Spreadsheet.Worksheet(new Spreadsheet.SheetData(rows.Cast<OpenXmlElement>()));
        return book.GetIdOfPart(part);
    }
}

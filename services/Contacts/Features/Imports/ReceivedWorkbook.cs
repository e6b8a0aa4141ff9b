using System.IO.Compression;
using System.Xml;
using Crm.Contracts;
using Crm.Hosting.Web;
using DocumentFormat.OpenXml.Packaging;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// An Excel workbook as it came, in a temporary file: it is a zip, and what is in it is said at its end. The file has no name
/// any more, so it goes with the process, however that ends.
/// </summary>
internal sealed class ReceivedWorkbook : IDisposable
{
    public const string ContentType = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

    /// <summary>Bytes.</summary>
    public const long LargestBody = 100_000_000;

    /// <summary>Bytes of all that are here at once: a pod has 256 MiB for temporary files.</summary>
    private const long MostAtOnce = 200_000_000;

    /// <summary>Far more than a workbook has, with its pictures and charts.</summary>
    private const int MostParts = 2000;

    /// <summary>Bytes, unpacked, of the lists of parts, which are read whole.</summary>
    private const long LargestLists = 10_000_000;

    /// <summary>Each has the texts of its sheet in memory.</summary>
    private static readonly SemaphoreSlim Readers = new(2);

    private static long _atOnce;

    private readonly long _size;
    private FileStream? _file;
    private SpreadsheetDocument? _document;
    private bool _isReader;

    private ReceivedWorkbook(long size) => _size = size;

    public WorkbookPart Book { get; private set; } = null!;

    /// <summary>Begins each part in the list of parts of a zip.</summary>
    private static ReadOnlySpan<byte> PartSignature => "PK\u0001\u0002"u8;

    /// <summary>Begins an .xls, and an .xlsx that is encrypted with a password.</summary>
    private static ReadOnlySpan<byte> CompoundSignature => [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];

    /// <exception cref="ProblemException">413; 503 while others take the room; 400 when the body is no workbook.</exception>
    public static async Task<ReceivedWorkbook> ReceiveAsync(HttpRequest request, CancellationToken ct)
    {
        var size = request.ContentLength ?? LargestBody;
        if (size > LargestBody)
        {
            throw TooLarge();
        }

        var workbook = new ReceivedWorkbook(size);
        try
        {
            if (Interlocked.Add(ref _atOnce, size) > MostAtOnce)
            {
                throw new ProblemException(ProblemCodes.Unavailable, "Other workbooks are being read, and there is no room for this one; send it again later.") { RetryAfter = 10 };
            }

            await workbook.StoreAsync(request.Body, ct);
            await Readers.WaitAsync(ct);
            workbook._isReader = true;
            workbook.Book = Guarded(workbook.Open);
            return workbook;
        }
        catch
        {
            workbook.Dispose();
            throw;
        }
    }

    /// <summary>What is wrong with a file is the sender's to know, whichever way the readers of zip, XML and parts say it.</summary>
    /// <exception cref="ProblemException">400.</exception>
    public static T Guarded<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception exception) when (exception is XmlException or InvalidDataException or IOException or FormatException or OpenXmlPackageException
            or ArgumentException or InvalidOperationException or NotSupportedException or OverflowException or KeyNotFoundException)
        {
            throw NotOne("its parts cannot be read.");
        }
    }

    public void Dispose()
    {
        try
        {
            _document?.Dispose();
            _file?.Dispose();
        }
        finally
        {
            Interlocked.Add(ref _atOnce, -_size);
            if (_isReader)
            {
                Readers.Release();
            }
        }
    }

    private async Task StoreAsync(Stream body, CancellationToken ct)
    {
        var path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        _file = new FileStream(path, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.ReadWrite, Share = FileShare.Delete });
        File.Delete(path);
        var buffer = new byte[128 * 1024];
        var (size, parts) = (0L, 0);
        for (int read; (read = await body.ReadAsync(buffer, ct)) > 0;)
        {
            size += read;
            parts += CountParts(buffer.AsSpan(0, read));
            if (size > LargestBody)
            {
                throw TooLarge();
            }

            // Whoever opens the zip has them all in memory.
            if (parts > MostParts)
            {
                throw NotOne($"it has more than {MostParts} parts.");
            }

            await _file.WriteAsync(buffer.AsMemory(0, read), ct);
        }

        if (size == 0)
        {
            throw new ProblemException(ProblemCodes.BadRequest, "The body is empty.");
        }

        await _file.FlushAsync(ct);
    }

    private WorkbookPart Open()
    {
        var file = _file!;
        Span<byte> start = stackalloc byte[CompoundSignature.Length];
        file.Position = 0;
        var length = file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
        if (start[..length].SequenceEqual(CompoundSignature))
        {
            throw NotOne("it is an old .xls or protected by a password; save it as .xlsx without one.");
        }

        file.Position = 0;
        using (var zip = new ZipArchive(file, ZipArchiveMode.Read, leaveOpen: true))
        {
            // No more of a part is unpacked than is said here.
            if (zip.Entries.Sum(e => e.Length) > ReceiveImport.LargestBody || zip.Entries.Where(IsList).Sum(e => e.Length) > LargestLists)
            {
                throw NotOne("it is too large when it is unpacked; send it as text/csv.");
            }
        }

        file.Position = 0;
        _document = SpreadsheetDocument.Open(file, isEditable: false);
        return _document.WorkbookPart ?? throw new InvalidDataException("The file has no workbook.");
    }

    private static bool IsList(ZipArchiveEntry part) =>
        part.FullName.EndsWith(".rels", StringComparison.OrdinalIgnoreCase) || string.Equals(part.FullName, "[Content_Types].xml", StringComparison.OrdinalIgnoreCase);

    private static int CountParts(ReadOnlySpan<byte> bytes) => bytes.Count(PartSignature);

    private static ProblemException TooLarge() => new(ProblemCodes.BodyTooLarge, $"A workbook has at most {LargestBody} bytes here; send a larger one as text/csv.");

    private static ProblemException NotOne(string why) => new(ProblemCodes.BadRequest, $"The body is not a workbook (.xlsx) that can be read: {why}");
}

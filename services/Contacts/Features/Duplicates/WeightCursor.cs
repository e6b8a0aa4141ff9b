using System.Buffers.Binary;
using System.Buffers.Text;
using Crm.Hosting.Web;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>
/// The place in the review queue, which is ordered by weight and then by id: 24 bytes in base64url, as a
/// <see cref="TimeCursor"/>. It stands without its pair, which a scan between two pages may take away or weigh anew.
/// </summary>
internal static class WeightCursor
{
    private const int Size = sizeof(double) + 16;

    public static string Write(double weight, Guid id)
    {
        Span<byte> bytes = stackalloc byte[Size];
        BinaryPrimitives.WriteDoubleBigEndian(bytes, weight);
        id.TryWriteBytes(bytes[sizeof(double)..], bigEndian: true, out _);
        return Base64Url.EncodeToString(bytes);
    }

    /// <summary>The parameter <c>cursor</c>; null when it is not given.</summary>
    /// <exception cref="ProblemException">400 when it is none of <see cref="Write"/>.</exception>
    public static (double Weight, Guid Id)? Read(HttpRequest request)
    {
        if (request.Query["cursor"] is not [{ } text])
        {
            return null;
        }

        Span<byte> bytes = stackalloc byte[Size];
        return text.Length == 32 && Base64Url.TryDecodeFromChars(text, bytes, out var written) && written == Size
            && BinaryPrimitives.ReadDoubleBigEndian(bytes) is var weight && double.IsFinite(weight)
            ? (weight, new Guid(bytes[sizeof(double)..], bigEndian: true))
            : throw ProblemException.InvalidParameter("cursor", "This is not a cursor of this list.");
    }
}

using System.Buffers.Binary;
using System.Buffers.Text;
using Microsoft.AspNetCore.Http;

namespace Crm.Hosting.Web;

/// <summary>The place in a list that is ordered by an instant and then by id: 24 bytes in base64url.</summary>
public static class TimeCursor
{
    private const int Size = sizeof(long) + 16;

    public static string Write(DateTimeOffset at, Guid id)
    {
        Span<byte> bytes = stackalloc byte[Size];
        BinaryPrimitives.WriteInt64BigEndian(bytes, at.UtcTicks);
        id.TryWriteBytes(bytes[sizeof(long)..], bigEndian: true, out _);
        return Base64Url.EncodeToString(bytes);
    }

    /// <summary>The parameter <c>cursor</c>; null when it is not given.</summary>
    /// <exception cref="ProblemException">400 when it is none of <see cref="Write"/>.</exception>
    public static (DateTimeOffset At, Guid Id)? Read(HttpRequest request)
    {
        if (request.Query["cursor"] is not [{ } text])
        {
            return null;
        }

        Span<byte> bytes = stackalloc byte[Size];
        return text.Length == 32 && Base64Url.TryDecodeFromChars(text, bytes, out var written) && written == Size
            && BinaryPrimitives.ReadInt64BigEndian(bytes) is >= 0 and <= 3155378975999999999 and var ticks
            ? (new DateTimeOffset(ticks, TimeSpan.Zero), new Guid(bytes[sizeof(long)..], bigEndian: true))
            : throw ProblemException.InvalidParameter("cursor", "This is not a cursor of this list.");
    }
}

using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace Crm.Campaigns.Features.Sending;

/// <summary>
/// The secret part of a link in a mail: 128 random bits as 22 characters of base64url. Only its SHA-256 is stored, so
/// that who reads the database or a backup has no link.
/// </summary>
internal static class LinkToken
{
    private const int Bytes = 16;

    public static string New() => Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(Bytes));

    public static byte[] Hash(string token) => SHA256.HashData(Encoding.ASCII.GetBytes(token));

    /// <summary>Whether it has the form of a token; anything else is not looked up.</summary>
    public static bool IsToken(string text) => text.Length == 22 && Base64Url.IsValid(text);
}

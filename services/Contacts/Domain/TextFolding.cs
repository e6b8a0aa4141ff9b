using System.Globalization;
using System.Text;

namespace Crm.Contacts.Domain;

internal static class TextFolding
{
    /// <summary>
    /// For search: NFKD without marks, lower case, single blanks. Stored as search_name, so what it makes must not change;
    /// what tells names apart is <see cref="Matching.MatchFolding"/>.
    /// </summary>
    public static string Fold(string text)
    {
        var folded = new StringBuilder(text.Length);
        var blank = true;
        foreach (var rune in text.Normalize(NormalizationForm.FormKD).EnumerateRunes())
        {
            if (Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark)
            {
                continue;
            }

            if (Rune.IsWhiteSpace(rune))
            {
                if (!blank)
                {
                    folded.Append(' ');
                    blank = true;
                }

                continue;
            }

            folded.Append(Rune.ToLowerInvariant(rune).ToString());
            blank = false;
        }

        return folded.ToString().TrimEnd();
    }
}

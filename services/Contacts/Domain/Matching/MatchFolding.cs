using System.Globalization;
using System.Text;

namespace Crm.Contacts.Domain.Matching;

/// <summary>
/// What names and addresses are compared by: NFKC in lower case, without the marks that writers leave out. Which those are
/// depends on the script: é is also written e, and Hebrew and Arabic vowel points are hardly written at all, but a vowel sign
/// of Devanagari or Thai and the voicing mark of kana are letters of the word: सुनीता and सुनीत are two names, as are はら and ばら.
/// Blocking keys and stored models are made of it; see <see cref="BlockingKeys.Version"/>.
/// </summary>
internal static class MatchFolding
{
    private const int Joiner = 0x200d;
    private const int NonJoiner = 0x200c;

    public static string Fold(string text)
    {
        if (Ascii.IsValid(text))
        {
            return text.ToLowerInvariant();
        }

        var folded = new StringBuilder(text.Length);
        Rune letter = default;
        foreach (var rune in text.Normalize(NormalizationForm.FormKD).EnumerateRunes())
        {
            switch (Rune.GetUnicodeCategory(rune))
            {
                case UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark:
                    if (IsOfTheWord(rune, letter))
                    {
                        folded.Append(rune.ToString());
                    }

                    break;
                // They say how letters are drawn. The non-joiner of Persian parts words.
                case UnicodeCategory.Format when rune.Value == Joiner || (rune.Value == NonJoiner && Rune.IsLetter(letter) && !MayLackMarks(letter)):
                    break;
                default:
                    letter = Rune.ToLowerInvariant(rune);
                    folded.Append(letter.ToString());
                    break;
            }
        }

        return folded.ToString().Normalize(NormalizationForm.FormC);
    }

    /// <summary>The mark tells words apart.</summary>
    private static bool IsOfTheWord(Rune mark, Rune letter)
    {
        if (!Rune.IsLetter(letter) || Rune.GetUnicodeCategory(mark) == UnicodeCategory.EnclosingMark || IsVariationSelector(mark))
        {
            return false;
        }

        // Letters of a Cyrillic alphabet that nobody writes without their mark: й, ў, ї, ѓ, ќ. Of ё and of stress that is not so.
        return !MayLackMarks(letter) || (letter.Value, mark.Value) is (0x438 or 0x443, 0x306) or (0x456, 0x308) or (0x433 or 0x43a, 0x301);
    }

    /// <summary>Latin, Greek, Cyrillic, Hebrew, Arabic, Syriac.</summary>
    private static bool MayLackMarks(Rune letter) => letter.Value is
        < 0x530 or (>= 0x590 and < 0x780) or (>= 0x860 and < 0x900) or (>= 0x1c80 and < 0x1c90) or (>= 0x1d00 and < 0x2000)
        or (>= 0x2c60 and < 0x2c80) or (>= 0xa640 and < 0xa6a0) or (>= 0xa720 and < 0xa800) or (>= 0xab30 and < 0xab70);

    /// <summary>Which drawing of a character is meant, and the invisible joiner of marks.</summary>
    private static bool IsVariationSelector(Rune mark) => mark.Value is 0x34f or (>= 0x180b and <= 0x180f) or (>= 0xfe00 and <= 0xfe0f) or (>= 0xe0100 and <= 0xe01ef);
}

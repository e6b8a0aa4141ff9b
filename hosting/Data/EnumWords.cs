using System.Text.Json;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage.ValueConversion;

namespace Crm.Hosting.Data;

/// <summary>The snake_case words of an enum: the same in JSON, events and columns.</summary>
public static class EnumWords<T> where T : struct, Enum
{
    private static readonly Dictionary<T, string> Words = Enum.GetValues<T>().ToDictionary(v => v, v => JsonNamingPolicy.SnakeCaseLower.ConvertName(v.ToString()));
    private static readonly Dictionary<string, T> Values = Words.ToDictionary(w => w.Value, w => w.Key, StringComparer.Ordinal);

    public static string Of(T value) => Words[value];

    public static T Parse(string word) => Values[word];

    public static bool TryParse(string? word, out T value)
    {
        value = default;
        return word is not null && Values.TryGetValue(word, out value);
    }

    internal sealed class Converter() : ValueConverter<T, string>(v => Words[v], w => Values[w]);
}

public static class EnumColumns
{
    /// <summary>Keeps the enum as its word.</summary>
    public static void EnumAsWord<T>(this ModelConfigurationBuilder conventions) where T : struct, Enum =>
        conventions.Properties<T>().HaveConversion<EnumWords<T>.Converter>();

    /// <summary>The word of an enum value, as JSON, events and columns have it.</summary>
    public static string ToWord<T>(this T value) where T : struct, Enum => EnumWords<T>.Of(value);
}

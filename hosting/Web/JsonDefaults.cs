using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using System.Text.RegularExpressions;

namespace Crm.Hosting.Web;

/// <summary>How the API reads and writes JSON: snake_case, strict, enums as words.</summary>
public static class JsonDefaults
{
    internal const string BadText = "Text that cannot be stored";

    public static readonly JsonSerializerOptions Options = Configure(new JsonSerializerOptions(JsonSerializerDefaults.Web));

    public static JsonSerializerOptions Configure(JsonSerializerOptions options)
    {
        options.PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower;
        options.PropertyNameCaseInsensitive = false;
        options.UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow;
        options.NumberHandling = JsonNumberHandling.Strict;
        options.AllowDuplicateProperties = false;
        options.MaxDepth = 32;
        options.TypeInfoResolver ??= new DefaultJsonTypeInfoResolver();
        options.Converters.Add(new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false));
        options.Converters.Add(new StorableText());
        options.Converters.Add(new StorableElement());
        options.Converters.Add(new UtcInstants());
        return options;
    }

    /// <summary>PostgreSQL stores no U+0000, and UTF-8 no lone surrogate.</summary>
    private sealed class StorableText : JsonConverter<string>
    {
        public override string? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            if (reader.TokenType != JsonTokenType.String)
            {
                throw new JsonException("The value could not be converted to text.");
            }

            string text;
            try
            {
                text = reader.GetString()!;
            }
            catch (InvalidOperationException exception)
            {
                throw new JsonException(BadText, exception);
            }

            return text.Contains('\0', StringComparison.Ordinal) ? throw new JsonException(BadText) : text;
        }

        public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);
    }

    /// <summary>The texts in what is read as it comes, such as attributes, have no lone surrogates: who looks at them later would fail.</summary>
    private sealed class StorableElement : JsonConverter<JsonElement>
    {
        public override JsonElement Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            var element = JsonMetadataServices.JsonElementConverter.Read(ref reader, typeToConvert, options);
            try
            {
                Decode(element);
                return element;
            }
            catch (InvalidOperationException exception)
            {
                throw new JsonException(BadText, exception);
            }
        }

        public override void Write(Utf8JsonWriter writer, JsonElement value, JsonSerializerOptions options) => value.WriteTo(writer);

        private static void Decode(JsonElement element)
        {
            switch (element.ValueKind)
            {
                case JsonValueKind.String:
                    _ = element.GetString();
                    break;
                case JsonValueKind.Array:
                    foreach (var item in element.EnumerateArray())
                    {
                        Decode(item);
                    }

                    break;
                case JsonValueKind.Object:
                    foreach (var member in element.EnumerateObject())
                    {
                        _ = member.Name;
                        Decode(member.Value);
                    }

                    break;
            }
        }
    }

    /// <summary>Instants are RFC 3339 with a zone or offset, and are kept and written in UTC.</summary>
    private sealed class UtcInstants : JsonConverter<DateTimeOffset>
    {
        public override DateTimeOffset Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            if (reader.TokenType == JsonTokenType.String && reader.GetString() is { } text && Instants.TryParse(text, out var instant))
            {
                return instant;
            }

            throw new JsonException("The value could not be converted to an instant.");
        }

        /// <summary>To the microsecond, as columns keep it: the answer to a write and later reads are the same.</summary>
        public override void Write(Utf8JsonWriter writer, DateTimeOffset value, JsonSerializerOptions options) =>
            writer.WriteStringValue(value.UtcDateTime.AddTicks(-(value.Ticks % TimeSpan.TicksPerMicrosecond)));
    }
}

/// <summary>RFC 3339 instants.</summary>
public static class Instants
{
    /// <summary>False without a zone or offset, and for what PostgreSQL cannot hold. Precision is a microsecond, as columns keep it.</summary>
    public static bool TryParse(string text, out DateTimeOffset instant)
    {
        instant = default;
        if (text.Length is < 20 or > 40 || text[10] is not ('T' or 't')
            || !(text[^1] is 'Z' or 'z' || text[^6] is '+' or '-')
            || !DateTimeOffset.TryParse(text, System.Globalization.CultureInfo.InvariantCulture, System.Globalization.DateTimeStyles.AssumeUniversal, out var parsed))
        {
            return false;
        }

        var utc = parsed.ToUniversalTime();
        instant = utc.AddTicks(-(utc.Ticks % TimeSpan.TicksPerMicrosecond));
        return true;
    }
}

internal static partial class JsonPaths
{
    /// <summary>
    /// <c>$.emails[0].address</c> of the reader, or <c>Emails[0].Address</c> of validation, as a JSON Pointer. The reader's names,
    /// and what is in brackets, are as they stand in the body.
    /// </summary>
    public static string ToPointer(string? path)
    {
        var isRead = path?.StartsWith('$') is true;
        var pointer = new System.Text.StringBuilder();
        foreach (var part in Parts().Matches(isRead ? path![1..] : path ?? "").Cast<Match>())
        {
            var name = part.Groups["name"] is { Success: true } bracketed ? bracketed.Value
                : isRead ? part.Value
                : JsonNamingPolicy.SnakeCaseLower.ConvertName(part.Value);
            pointer.Append('/').Append(name.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal));
        }

        return pointer.ToString();
    }

    [GeneratedRegex(@"\['(?<name>.*?)'\](?=$|[.\[])|\[(?<name>[^\]]*)\]|[^.\[]+", RegexOptions.CultureInvariant | RegexOptions.Singleline | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Parts();
}

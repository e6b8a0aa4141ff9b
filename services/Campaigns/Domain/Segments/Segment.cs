using System.Globalization;
using System.Text.Json;
using Crm.Hosting.Web;

namespace Crm.Campaigns.Domain.Segments;

/// <summary>A named question about customers; who its members are is asked anew each time.</summary>
internal sealed class Segment
{
    private Segment()
    {
    }

    public Guid Id { get; private set; }
    public long Version { get; private set; }
    public string Name { get; private set; } = "";
    public string? AsOf { get; private set; }
    public JsonElement Definition { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }

    /// <exception cref="ProblemException">400 with a pointer to each place in the definition that is wrong.</exception>
    public static Segment Define(string name, string? asOf, JsonElement definition, DateTimeOffset now)
    {
        var segment = new Segment { Id = Guid.CreateVersion7(now), CreatedAt = now };
        segment.Change(name, asOf, definition, now);
        return segment;
    }

    /// <exception cref="ProblemException">400 with a pointer to each place in the definition that is wrong.</exception>
    public void Change(string name, string? asOf, JsonElement definition, DateTimeOffset now)
    {
        _ = SegmentDefinition.Parse(definition);
        Name = name;
        AsOf = asOf is null ? null : Domain.Segments.AsOf.Normalize(asOf);
        Definition = definition;
        UpdatedAt = now;
        Version++;
    }
}

/// <summary>
/// The day from which relative facts count back: a date, or an instant of which the UTC date counts, so
/// that a time of day never matters.
/// </summary>
internal static class AsOf
{
    private const string DateFormat = "yyyy-MM-dd";

    public static bool TryParse(string text, out DateOnly day)
    {
        if (!DateOnly.TryParseExact(text, DateFormat, CultureInfo.InvariantCulture, DateTimeStyles.None, out day))
        {
            if (!Instants.TryParse(text, out var instant))
            {
                return false;
            }

            day = DateOnly.FromDateTime(instant.UtcDateTime);
        }

        return day.Year is >= 1900 and <= 9000;
    }

    public static DateOnly Day(string? asOf, DateTimeOffset now) => asOf is not null && TryParse(asOf, out var day) ? day : DateOnly.FromDateTime(now.UtcDateTime);

    public static string Normalize(string text) => Instants.TryParse(text, out var instant)
        ? instant.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.FFFFFF'Z'", CultureInfo.InvariantCulture)
        : text;
}

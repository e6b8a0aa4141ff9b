using System.Text.Json;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace Crm.Hosting.Data;

public static class JsonColumns
{
    /// <summary>Keeps a value that is only ever read and written whole as <c>jsonb</c>.</summary>
    public static PropertyBuilder<T> AsJson<T>(this PropertyBuilder<T> property) where T : notnull => property
        .HasColumnType("jsonb")
        .HasConversion(
            value => Write(value),
            json => Read<T>(json),
            new ValueComparer<T>(
                (a, b) => Write(a!) == Write(b!),
                value => string.GetHashCode(Write(value), StringComparison.Ordinal),
                value => Read<T>(Write(value))));

    private static string Write<T>(T value) => JsonSerializer.Serialize(value, JsonDefaults.Options);

    private static T Read<T>(string json) => JsonSerializer.Deserialize<T>(json, JsonDefaults.Options)!;
}

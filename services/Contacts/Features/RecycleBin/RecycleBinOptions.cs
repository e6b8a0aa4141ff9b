using System.ComponentModel.DataAnnotations;
using Crm.Hosting;

namespace Crm.Contacts.Features.RecycleBin;

/// <summary>Section <c>RecycleBin</c>.</summary>
public sealed class RecycleBinOptions
{
    /// <summary>How many days a deleted customer can be brought back; of those who are in the bin already, what it was then.</summary>
    [Range(1, 3650)]
    public int RetentionDays { get; init; } = 90;

    /// <summary>How often those are looked for whose time is over.</summary>
    [Range(1, 86_400)]
    public int SweepSeconds { get; init; } = 3600;
}

internal static class RecycleBinServices
{
    public static void AddRecycleBin(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<RecycleBinOptions>("RecycleBin");
        builder.Services.AddHostedService<EmptyRecycleBin>();
    }
}

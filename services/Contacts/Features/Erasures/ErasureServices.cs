using System.ComponentModel.DataAnnotations;
using Crm.Hosting;

namespace Crm.Contacts.Features.Erasures;

/// <summary>Section <c>Erasure</c>.</summary>
public sealed class ErasureOptions
{
    /// <summary>How many days the oldest backup is kept: so long after an erasure nothing is left in any.</summary>
    [Range(0, 3650)]
    public int BackupDays { get; init; } = 35;
}

internal static class ErasureServices
{
    public static void AddErasures(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<ErasureOptions>("Erasure");
        builder.Services.AddHostedService<WatchErasures>();
    }
}

using System.ComponentModel.DataAnnotations;
using Crm.Hosting;

namespace Crm.Contacts.Features.Lifecycles;

/// <summary>Section <c>Lifecycle</c>.</summary>
public sealed class LifecycleOptions
{
    /// <summary>A buyer who has not ordered for so long has lapsed.</summary>
    [Range(1, 36_500)]
    public int LapseDays { get; init; } = 365;

    /// <summary>How often they are looked for.</summary>
    [Range(1, 86_400)]
    public int SweepSeconds { get; init; } = 3600;

    public DateTimeOffset LapsedBefore(DateTimeOffset now) => now.AddDays(-LapseDays);
}

internal static class LifecycleServices
{
    public static void AddLifecycle(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<LifecycleOptions>("Lifecycle");
        builder.Services.AddHostedService<LapseBuyers>();
    }
}

using Crm.Hosting;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>Section <c>CustomFields</c>.</summary>
public sealed class CustomFieldOptions
{
    /// <summary>No attribute is written that is not defined.</summary>
    public bool Strict { get; init; }
}

internal static class CustomFieldServices
{
    public static void AddCustomFields(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<CustomFieldOptions>("CustomFields");
        builder.Services.AddHostedService<BuildIndexes>();
    }
}

using Crm.Hosting;

namespace Crm.Contacts.Features.Merges;

internal static class MergeServices
{
    public static void AddMerges(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<MergeOptions>("Merges");
        builder.Services.AddHostedService<WatchMerges>();
        MergeImpact.AddClients(builder);
    }
}

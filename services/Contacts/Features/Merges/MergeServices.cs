namespace Crm.Contacts.Features.Merges;

internal static class MergeServices
{
    public static void AddMerges(this WebApplicationBuilder builder)
    {
        builder.Services.AddOptions<MergeOptions>().BindConfiguration("Merges").ValidateDataAnnotations().ValidateOnStart();
        builder.Services.AddHostedService<WatchMerges>();
        MergeImpact.AddClients(builder);
    }
}

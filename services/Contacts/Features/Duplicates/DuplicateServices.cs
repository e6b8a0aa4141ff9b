using Crm.Hosting;

namespace Crm.Contacts.Features.Duplicates;

internal static class DuplicateServices
{
    public static void AddDuplicates(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<DuplicateOptions>("Duplicates");
        builder.Services.AddSingleton<MatchModels>();
        builder.Services.AddScoped<DuplicateCheck>();
        builder.Services.AddScoped<MergeDuplicate>();
        builder.Services.AddSingleton<DuplicateScanner>();
        builder.Services.AddHostedService<MakeMatchKeys>();
        builder.Services.AddHostedService<ScanWorker>();
        builder.Services.AddHostedService<AskForScans>();
    }
}

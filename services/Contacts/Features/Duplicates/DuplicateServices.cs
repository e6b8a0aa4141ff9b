namespace Crm.Contacts.Features.Duplicates;

internal static class DuplicateServices
{
    public static void AddDuplicates(this WebApplicationBuilder builder)
    {
        builder.Services.AddOptions<DuplicateOptions>().BindConfiguration("Duplicates").ValidateDataAnnotations().ValidateOnStart();
        builder.Services.AddSingleton<MatchModels>();
        builder.Services.AddScoped<DuplicateCheck>();
        builder.Services.AddScoped<MergeDuplicate>();
        builder.Services.AddSingleton<DuplicateScanner>();
        builder.Services.AddHostedService<MakeMatchKeys>();
        builder.Services.AddHostedService<ScanWorker>();
    }
}

using System.ComponentModel.DataAnnotations;
using Crm.Contacts.Features.Merges;
using Crm.Contracts.PersonalData.V1;
using Crm.Hosting;
using Crm.Hosting.Messaging;
using Crm.Hosting.Rpc;

namespace Crm.Contacts.Features.Retention;

/// <summary>Section <c>Retention</c>.</summary>
public sealed class RetentionOptions
{
    /// <summary>How many hours after the beginning of a run an active policy runs again.</summary>
    [Range(1, 8760)]
    public int EveryHours { get; init; } = 24;

    /// <summary>For how many days a run's report says who was kept, or would have been erased; who was erased it says for ever.</summary>
    [Range(1, 3650)]
    public int ReportDays { get; init; } = 90;
}

/// <summary>After a run is asked for, or a policy made active.</summary>
internal sealed class RetentionSignal : WakeSignal;

internal static class RetentionServices
{
    public static void AddRetention(this WebApplicationBuilder builder)
    {
        foreach (var (service, peer) in MergeImpact.Peers)
        {
            builder.AddCrmGrpcClientNamed<PersonalData.PersonalDataClient>(peer, "crm.personal_data.v1.PersonalData", LastUses.ClientOf(service), "FindUses");
        }

        builder.Services.AddSettings<RetentionOptions>("Retention");
        builder.Services.AddSingleton<LastUses>();
        builder.Services.AddSingleton<RetentionSignal>();
        builder.Services.AddHostedService<RetentionWorker>();
    }
}

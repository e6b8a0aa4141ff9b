using Crm.Contacts.Features.Merges;
using Crm.Contracts;
using Crm.Contracts.PersonalData.V1;
using Grpc.Core;
using Grpc.Net.ClientFactory;

namespace Crm.Contacts.Features.Retention;

/// <summary>When the four other services had to do with customers for the last time, asked of them at once.</summary>
internal sealed partial class LastUses(GrpcClientFactory clients, TimeProvider clock, ILogger<LastUses> logger)
{
    /// <summary>Customers that a service takes in one question.</summary>
    private const int AtOnce = 1000;

    /// <summary>Nobody waits for the answer, and a customer may have very many rows.</summary>
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(50);

    public static string ClientOf(string service) => $"uses {service}";

    /// <returns>By id what the services have, and those that have not answered: then nothing is known of anybody.</returns>
    public async Task<(ILookup<Guid, CustomerUse> Uses, IReadOnlyList<string> Missing)> FindAsync(IReadOnlyCollection<Guid> customers, CancellationToken ct)
    {
        var requests = customers.Select(id => Ids.Customer.Format(id)).Chunk(AtOnce).Select(ids => new FindUsesRequest { CustomerIds = { ids } }).ToList();
        var answers = await Task.WhenAll(MergeImpact.Peers.SelectMany(p => requests.Select(r => AskAsync(p.Service, r, ct))));
        return (
            answers.SelectMany(a => a.Uses?.Customers ?? []).ToLookup(u => Ids.Customer.Parse(u.CustomerId)),
            [.. answers.Where(a => a.Uses is null).Select(a => a.Service).Distinct()]);
    }

    /// <summary>Null whatever the failure is: nobody is erased on a guess.</summary>
    private async Task<(string Service, Uses? Uses)> AskAsync(string service, FindUsesRequest request, CancellationToken ct)
    {
        try
        {
            return (service, await clients.CreateClient<PersonalData.PersonalDataClient>(ClientOf(service))
                .FindUsesAsync(request, deadline: (clock.GetUtcNow() + Deadline).UtcDateTime, cancellationToken: ct));
        }
        catch (RpcException exception) when (!ct.IsCancellationRequested)
        {
            LogMissing(service, exception.StatusCode);
            return (service, null);
        }
    }

    [LoggerMessage(LogLevel.Warning, "{Service} does not say which customers it has to do with ({StatusCode})")]
    private partial void LogMissing(string service, StatusCode statusCode);
}

using Crm.Contacts.Features.Merges;
using Crm.Contracts;
using Crm.Contracts.Merges.V1;
using Grpc.Core;
using Grpc.Net.ClientFactory;

namespace Crm.Contacts.Features.Imports;

/// <summary>Which customers have rows in the four other services, asked of them at once.</summary>
internal sealed partial class RowOwners(GrpcClientFactory clients, ILogger<RowOwners> logger)
{
    /// <summary>Customers that a service takes in one question.</summary>
    private const int AtOnce = 1000;

    /// <returns>By customer why it is not removed, such as <c>has_cases</c>; and the services that have not answered.</returns>
    public async Task<(Dictionary<Guid, string> Reasons, IReadOnlyList<string> Missing)> FindAsync(IReadOnlyCollection<Guid> customers, CancellationToken ct)
    {
        if (customers.Count == 0)
        {
            return ([], []);
        }

        var requests = customers.Select(id => Ids.Customer.Format(id)).Chunk(AtOnce).Select(ids => new FindOwnersRequest { CustomerIds = { ids } }).ToList();
        var answers = await Task.WhenAll(MergeImpact.Peers.SelectMany(p => requests.Select(r => AskAsync(p.Service, r, ct))));
        var reasons = new Dictionary<Guid, string>();
        foreach (var table in answers.SelectMany(a => a.Owners?.Tables ?? []))
        {
            foreach (var id in table.CustomerIds)
            {
                reasons.TryAdd(Ids.Customer.Parse(id), $"has_{table.Table}");
            }
        }

        return (reasons, [.. answers.Where(a => a.Owners is null).Select(a => a.Service).Distinct()]);
    }

    /// <summary>Null whatever the failure is: nobody is removed on a guess.</summary>
    private async Task<(string Service, Owners? Owners)> AskAsync(string service, FindOwnersRequest request, CancellationToken ct)
    {
        try
        {
            return (service, await clients.CreateClient<Contracts.Merges.V1.Merges.MergesClient>(service).FindOwnersAsync(request, cancellationToken: ct));
        }
        catch (RpcException exception) when (!ct.IsCancellationRequested)
        {
            LogMissing(service, exception.StatusCode);
            return (service, null);
        }
    }

    [LoggerMessage(LogLevel.Warning, "{Service} does not say which customers have rows there ({StatusCode})")]
    private partial void LogMissing(string service, StatusCode statusCode);
}

using Crm.Contacts.Features.Merges;
using Crm.Contracts;
using Crm.Contracts.Merges.V1;
using Grpc.Core;
using Grpc.Net.ClientFactory;

namespace Crm.Contacts.Features.Imports;

/// <summary>Which customers have rows in the four other services, asked of them at once.</summary>
internal sealed partial class RowOwners(GrpcClientFactory clients, ILogger<RowOwners> logger)
{
    /// <returns>By customer why it is not removed, such as <c>has_cases</c>; and the services that have not answered.</returns>
    public async Task<(Dictionary<Guid, string> Reasons, IReadOnlyList<string> Missing)> FindAsync(IReadOnlyCollection<Guid> customers, CancellationToken ct)
    {
        if (customers.Count == 0)
        {
            return ([], []);
        }

        var request = new FindOwnersRequest();
        request.CustomerIds.AddRange(customers.Select(id => Ids.Customer.Format(id)));
        var answers = await Task.WhenAll(MergeImpact.Peers.Select(p => AskAsync(p.Service, request, ct)));
        var reasons = new Dictionary<Guid, string>();
        foreach (var table in answers.SelectMany(a => a.Owners?.Tables ?? []))
        {
            foreach (var id in table.CustomerIds)
            {
                reasons.TryAdd(Ids.Customer.Parse(id), $"has_{table.Table}");
            }
        }

        return (reasons, [.. answers.Where(a => a.Owners is null).Select(a => a.Service)]);
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

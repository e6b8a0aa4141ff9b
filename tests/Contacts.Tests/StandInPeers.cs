using Crm.Contracts.Merges.V1;
using Crm.Contracts.PersonalData.V1;
using Crm.Runner;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Contacts.Tests;

/// <summary>Stands where the other services are: they have rows of nobody, unless a test lets them answer otherwise.</summary>
public sealed class StandInPeers : IAsyncDisposable
{
    private static readonly string[] Services = ["interactions", "campaigns", "billing-sync", "support"];

    private readonly WebApplication _app;
    private readonly Dictionary<string, string> _byPort;

    private StandInPeers(PortMap ports)
    {
        _byPort = Services.ToDictionary(s => $":{ports[s, "grpc"]}");
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => Array.ForEach(Services, s => kestrel.ListenLocalhost(ports[s, "grpc"], l => l.Protocols = HttpProtocols.Http2)));
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(this);
        _app = builder.Build();
        _app.MapGrpcService<MergesStub>();
        _app.MapGrpcService<PersonalDataStub>();
    }

    /// <summary>What a service answers to the question for these customers.</summary>
    public Func<string, IReadOnlyList<string>, Owners> FindOwners { get; set; } = (_, _) => new();

    /// <summary>When a service had to do with these customers.</summary>
    public Func<string, IReadOnlyList<string>, Task<Uses>> FindUses { get; set; } = (_, _) => Task.FromResult(new Uses());

    public static async Task<StandInPeers> StartAsync(PortMap ports)
    {
        var peers = new StandInPeers(ports);
        await peers._app.StartAsync();
        return peers;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private string ServiceOf(ServerCallContext context) => _byPort.First(p => context.Host.EndsWith(p.Key, StringComparison.Ordinal)).Value;

    private sealed class PersonalDataStub(StandInPeers peers) : PersonalData.PersonalDataBase
    {
        public override Task<Uses> FindUses(FindUsesRequest request, ServerCallContext context) => peers.FindUses(peers.ServiceOf(context), request.CustomerIds);
    }

    private sealed class MergesStub(StandInPeers peers) : Merges.MergesBase
    {
        public override Task<Owners> FindOwners(FindOwnersRequest request, ServerCallContext context) => request.CustomerIds.Count > 1000
            ? throw new RpcException(new Status(StatusCode.InvalidArgument, "At most 1000 customers."))
            : Task.FromResult(peers.FindOwners(peers.ServiceOf(context), request.CustomerIds));

        public override Task<Impact> GetImpact(GetImpactRequest request, ServerCallContext context) =>
            throw new RpcException(new Status(StatusCode.Unavailable, "No merges here."));
    }
}

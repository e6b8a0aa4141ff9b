using System.Collections.Concurrent;
using Crm.Runner;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Wire = Crm.Contracts.Contacts.V1;

namespace Campaigns.Tests;

/// <summary>
/// Stands between Campaigns and Contacts, which does not know the customers that the tests announce: of each it says that
/// marketing is granted, unless a test has it say otherwise, or nothing. All else Contacts answers.
/// </summary>
public sealed class StandInContacts : IAsyncDisposable
{
    private readonly TaskCompletionSource<GrpcChannel> _contacts = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly WebApplication _app;

    private StandInContacts(int port)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenLocalhost(port, l => l.Protocols = HttpProtocols.Http2));
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(this);
        _app = builder.Build();
        _app.MapGrpcService<ContactsStub>();
        Address = $"http://127.0.0.1:{port}";
    }

    public string Address { get; }

    /// <summary>Nobody answers for consents.</summary>
    public bool IsAway { get; set; }

    /// <summary>How often it was asked for consents.</summary>
    public int Questions => _questions;

    /// <summary>By customer id: until when it rests; null when nothing is granted.</summary>
    public ConcurrentDictionary<string, DateTimeOffset?> Exceptions { get; } = new(StringComparer.Ordinal);

    private int _questions;

    public static async Task<StandInContacts> StartAsync()
    {
        var contacts = new StandInContacts(FreePort.Next());
        await contacts._app.StartAsync();
        return contacts;
    }

    /// <summary>Where Contacts is; who asks before waits.</summary>
    public void Forward(Uri contacts) => _contacts.TrySetResult(GrpcChannel.ForAddress(contacts));

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
        if (_contacts.Task.IsCompletedSuccessfully)
        {
            (await _contacts.Task).Dispose();
        }
    }

    private Wire.GrantedConsents Answer(Wire.AskConsentsRequest request)
    {
        Interlocked.Increment(ref _questions);
        if (IsAway)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, "Away."));
        }

        var answer = new Wire.GrantedConsents();
        foreach (var id in request.CustomerIds)
        {
            var excepted = Exceptions.TryGetValue(id, out var until);
            if (excepted && until is null)
            {
                continue;
            }

            answer.Consents.AddRange(request.Purposes.Select(purpose => new Wire.GrantedConsent
            {
                CustomerId = id,
                Purpose = purpose,
                PausedUntil = until is { } at ? Google.Protobuf.WellKnownTypes.Timestamp.FromDateTimeOffset(at) : null,
            }));
        }

        return answer;
    }

    private sealed class ContactsStub(StandInContacts peer) : Wire.Contacts.ContactsBase
    {
        public override Task<Wire.GrantedConsents> AskConsents(Wire.AskConsentsRequest request, ServerCallContext context) => Task.FromResult(peer.Answer(request));

        public override async Task<Wire.Customer> GetCustomer(Wire.GetCustomerRequest request, ServerCallContext context) =>
            await (await RealAsync()).GetCustomerAsync(request, Caller(context), cancellationToken: context.CancellationToken);

        public override async Task<Wire.Customer> ResolveCustomer(Wire.ResolveCustomerRequest request, ServerCallContext context) =>
            await (await RealAsync()).ResolveCustomerAsync(request, Caller(context), cancellationToken: context.CancellationToken);

        public override async Task StreamCustomers(Wire.StreamCustomersRequest request, IServerStreamWriter<Wire.CustomerRecord> responseStream, ServerCallContext context)
        {
            using var call = (await RealAsync()).StreamCustomers(request, Caller(context), cancellationToken: context.CancellationToken);
            await foreach (var record in call.ResponseStream.ReadAllAsync(context.CancellationToken))
            {
                await responseStream.WriteAsync(record, context.CancellationToken);
            }
        }

        public override async Task<Wire.ListTiersResponse> ListTiers(Wire.ListTiersRequest request, ServerCallContext context) =>
            await (await RealAsync()).ListTiersAsync(request, Caller(context), cancellationToken: context.CancellationToken);

        public override async Task StreamGrants(Wire.StreamGrantsRequest request, IServerStreamWriter<Wire.Grant> responseStream, ServerCallContext context)
        {
            using var call = (await RealAsync()).StreamGrants(request, Caller(context), cancellationToken: context.CancellationToken);
            await foreach (var grant in call.ResponseStream.ReadAllAsync(context.CancellationToken))
            {
                await responseStream.WriteAsync(grant, context.CancellationToken);
            }
        }

        public override async Task<Wire.AttributeGroups> ListAttributeGroups(Wire.ListAttributeGroupsRequest request, ServerCallContext context) =>
            await (await RealAsync()).ListAttributeGroupsAsync(request, Caller(context), cancellationToken: context.CancellationToken);

        private async Task<Wire.Contacts.ContactsClient> RealAsync() => new(await peer._contacts.Task);

        private static Metadata Caller(ServerCallContext context) => new() { { "authorization", context.RequestHeaders.GetValue("authorization") ?? "" } };
    }
}

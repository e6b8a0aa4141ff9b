using System.Collections.Concurrent;
using Crm.Contracts.Events;
using Crm.Testing;

[assembly: AssemblyFixture(typeof(Support.Tests.SupportFixture))]

namespace Support.Tests;

/// <summary>Contacts and Support as processes.</summary>
public sealed class SupportFixture() : OneServiceFixture("support")
{
    /// <summary>What Support has published.</summary>
    public ConcurrentQueue<CaseChanged> Changes { get; private set; } = null!;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Changes = await Bus.ListenAsync<CaseChanged>();
    }

    protected override Task<JsonAnswer> AskForAsync(string customer) =>
        Api.PostAsync("/v1/cases", $$"""{"customer_id":"{{customer}}","type":"question","subject":"Who am I?"}""");
}

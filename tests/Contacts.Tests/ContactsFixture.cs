using Crm.Testing;

[assembly: AssemblyFixture(typeof(Contacts.Tests.ContactsFixture))]

namespace Contacts.Tests;

public sealed class ContactsFixture : ServicesFixture
{
    protected override IReadOnlyCollection<string> Only => ["contacts"];

    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>
    {
        ["Lifecycle__SweepSeconds"] = "1",
        ["RecycleBin__SweepSeconds"] = "1",
    };

    public StandInPeers Peers { get; private set; } = null!;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Peers = await StandInPeers.StartAsync(Platform.Ports);
    }

    public override async ValueTask DisposeAsync()
    {
        if (Peers is not null)
        {
            await Peers.DisposeAsync();
        }

        await base.DisposeAsync();
        GC.SuppressFinalize(this);
    }
}

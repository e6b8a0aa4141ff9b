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
}

using Crm.Testing;

[assembly: AssemblyFixture(typeof(Contacts.Tests.ContactsFixture))]

namespace Contacts.Tests;

public sealed class ContactsFixture : ServicesFixture
{
    protected override IReadOnlyCollection<string> Only => ["contacts"];
}

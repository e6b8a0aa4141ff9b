using Crm.Contracts;
using Crm.Hosting.Rights;

namespace Contracts.Tests;

public sealed class PolicyTests
{
    [Theory]
    [InlineData("""{"scopes":["customers:fly"],"read":{}}""", "customers:fly")]
    [InlineData("""{"scopes":[],"read":{"shoes":"allow"}}""", "shoes")]
    [InlineData("""{"scopes":[],"read":{"notes":"mask"},"write":["notes"]}""", "notes can be written but not read")]
    [InlineData("""{"scopes":[],"read":{"notes":"perhaps"}}""", "cannot be read")]
    [InlineData("""{"scopes":[],"read":{},"owner":"me"}""", "cannot be read")]
    [InlineData("""{"read":{}}""", "cannot be read")]
    public void A_policy_that_does_not_mean_anything_is_no_policy(string role, string reason)
    {
        var file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, $$$"""{"field_groups":{},"department_grants":{},"row_filtered":[],"roles":{"odd":{{{role}}}}}""");
            Assert.Contains(reason, Assert.Throws<InvalidOperationException>(() => Policy.Load(file)).Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void Of_several_roles_the_most_generous_counts_and_an_unknown_one_brings_nothing()
    {
        var policy = Policy.Load(null);
        Assert.Equal(FieldAccess.Mask, policy.ReadOf(["analyst"], FieldGroups.Names));
        Assert.Equal(FieldAccess.Allow, policy.ReadOf(["analyst", "marketing"], FieldGroups.Names));
        Assert.Equal(FieldAccess.Deny, policy.ReadOf(["chief"], FieldGroups.Names));
        Assert.False(policy.MayWrite(["chief"], FieldGroups.Names));
        Assert.Empty(policy.ScopesOf(["chief"]));
        Assert.Equal(FieldGroups.All.Order(StringComparer.Ordinal), policy.FieldGroups.Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_department_approves_what_others_want_only_where_the_policy_says_so()
    {
        var file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, """{"field_groups":{},"roles":{},"department_grants":{},"row_filtered":[],"departments":{"sales":{"approvals":true},"service":{"approvals":false},"press":{}}}""");
            Assert.Equal(["sales"], Policy.Load(file).Approving);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Theory]
    [InlineData("ada@example.com", "a•••@e•••.com")]
    [InlineData("ada@localhost", "a•••@l•••")]
    [InlineData("+4930123412", "+49 ••• ••12")]
    [InlineData("+491234", "+•••")]
    [InlineData("Ada Byron", "A•••")]
    [InlineData("write to ada@example.com", "w•••")]
    [InlineData("", "")]
    [InlineData("𝒜da", "𝒜•••")]
    public void A_mask_keeps_the_shape_and_no_more_and_masked_text_stays_as_it_is(string text, string masked)
    {
        Assert.Equal(masked, Masks.Text(text));
        Assert.Equal(masked, Masks.Text(masked));
    }
}

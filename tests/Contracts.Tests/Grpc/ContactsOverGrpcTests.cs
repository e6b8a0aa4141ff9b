using System.Globalization;
using System.Text.Json;
using Crm.Testing;
using Xunit.Sdk;

namespace Contracts.Tests.Grpc;

/// <summary>A running Contacts with its own database, filled over HTTP and asked over gRPC by the independent client.</summary>
public sealed class ContactsRun : PlatformFixture
{
    private IReadOnlyDictionary<string, JsonElement> _results = new Dictionary<string, JsonElement>();

    protected override IReadOnlyCollection<string> Only => ["contacts"];

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        var keys = Directory.CreateTempSubdirectory("crm-contacts-").FullName;
        try
        {
            foreach (var service in new[] { "interactions", "gateway" })
            {
                File.Copy(Path.Combine(Platform.Secrets.FolderOf(service), "Auth__PrivateKey"), Path.Combine(keys, service + ".key"));
            }

            var contacts = Platform["contacts"];
            _results = await NodeClient.RunAsync(
                "contacts.js",
                contacts.GrpcAddress!.Authority,
                contacts.HttpAddress.ToString(),
                Platform.Ports["gateway", "http"].ToString(CultureInfo.InvariantCulture),
                Path.Combine(Repository.Root, "contracts", "protos"),
                keys);
        }
        finally
        {
            Directory.Delete(keys, recursive: true);
        }
    }

    public JsonElement Result(string name)
    {
        var result = _results.TryGetValue(name, out var found) ? found : throw new XunitException($"The client reported no case '{name}'.");
        return result.TryGetProperty("error", out var error) ? throw new XunitException($"The client failed in '{name}': {error}") : result;
    }
}

public sealed class ContactsOverGrpcTests(ContactsRun run) : IClassFixture<ContactsRun>
{
    private const int Ok = 0, InvalidArgument = 3, NotFound = 5, PermissionDenied = 7, FailedPrecondition = 9;

    [Theory]
    [InlineData("get")]
    [InlineData("resolve e-mail")]
    [InlineData("resolve phone")]
    [InlineData("resolve external id")]
    [InlineData("resolve id")]
    [InlineData("get by a user")]
    public void A_customer_is_found_by_every_identifier_and_is_whole(string name)
    {
        var result = Case(name, Ok);
        var customer = result.GetProperty("reply");
        var snapshot = customer.GetProperty("snapshot");
        Assert.Equal(result.GetProperty("id").GetString(), snapshot.GetProperty("id").GetString());
        Assert.Equal("person", snapshot.GetProperty("kind").GetString());
        Assert.Equal("Ada Byron", snapshot.GetProperty("display_name").GetString());
        Assert.Equal("ada@example.com", snapshot.GetProperty("primary_email").GetString());
        Assert.Equal("GB", snapshot.GetProperty("country").GetString());
        Assert.Equal("Europe/London", snapshot.GetProperty("time_zone").GetString());
        Assert.Equal("maths", JsonElement.Parse(snapshot.GetProperty("attributes_json").GetString()!).GetProperty("newsletter_topic").GetString());
        Assert.Equal("+442079460000", Assert.Single(customer.GetProperty("phones").EnumerateArray()).GetProperty("number").GetString());
        Assert.Equal("4711", Assert.Single(customer.GetProperty("external_ids").EnumerateArray()).GetProperty("id").GetString());
        Assert.Equal("1815-12-10", customer.GetProperty("birth_date").GetString());
    }

    [Fact]
    public void Names_in_other_scripts_arrive_as_they_are()
    {
        Assert.Equal("Zoë Łoś", Case("other script", Ok).GetProperty("reply").GetProperty("snapshot").GetProperty("display_name").GetString());
    }

    [Theory]
    [InlineData("get nobody")]
    [InlineData("resolve nobody")]
    public void A_customer_who_is_not_there_is_not_found_with_a_detail_and_a_code(string name)
    {
        var result = Case(name, NotFound);
        Assert.NotEqual("", result.GetProperty("detail").GetString());
        Assert.Equal("not_found", result.GetProperty("trailers").GetProperty("crm-code").GetString());
    }

    [Theory]
    [InlineData("get no id")]
    [InlineData("resolve nothing")]
    [InlineData("stream after no id")]
    public void What_is_not_an_identifier_is_an_invalid_argument(string name)
    {
        Assert.NotEqual("", Case(name, InvalidArgument).GetProperty("detail").GetString());
    }

    [Fact]
    public void An_address_that_several_customers_have_resolves_to_none_of_them() => Case("resolve several", FailedPrecondition);

    [Fact]
    public void The_stream_has_every_customer_once_in_order_with_the_current_consents()
    {
        var result = Case("stream", Ok);
        Assert.Equal(603, result.GetProperty("count").GetInt32());
        Assert.True(result.GetProperty("inOrder").GetBoolean());
        var consent = Assert.Single(result.GetProperty("consents").EnumerateArray());
        Assert.Equal("email", consent.GetProperty("channel").GetString());
        Assert.Equal("granted", consent.GetProperty("state").GetString());
    }

    [Fact]
    public void A_stream_goes_on_after_the_customer_that_was_last()
    {
        var result = Case("stream resumed", Ok);
        Assert.True(result.GetProperty("same").GetBoolean());
        Assert.Equal(53, result.GetProperty("count").GetInt32());
    }

    [Theory]
    [InlineData("get by a user without the scope")]
    [InlineData("stream by a user")]
    public void A_user_calls_only_what_the_scope_opens(string name) => Case(name, PermissionDenied);

    private JsonElement Case(string name, int code)
    {
        var result = run.Result(name);
        Assert.True(code == result.GetProperty("code").GetInt32(), result.GetRawText());
        return result;
    }
}

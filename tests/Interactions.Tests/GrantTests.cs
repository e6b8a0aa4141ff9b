using System.Net;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Testing;

namespace Interactions.Tests;

/// <summary>What is known here of customers of a closed department follows the grants of that department.</summary>
public sealed class GrantTests(InteractionsFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Interactions_with_a_customer_of_a_closed_department_are_for_its_people_and_those_it_grants_them()
    {
        var customer = await fixture.CustomerAsync();
        Assert.Equal(HttpStatusCode.OK, (await fixture.Contacts.PatchAsync($"/v1/customers/{customer}", """{"department":"legal"}""", "*", Ct)).Status);
        var logged = await fixture.Api.PostAsync("/v1/interactions", $$"""{"customer_id":"{{customer}}","channel":"call","direction":"inbound","started_at":"2026-03-03T00:00:00Z"}""", Ct);
        var department = $"d-{Guid.NewGuid():n}";
        using var legal = Of("legal");
        using var other = Of(department);
        string[] paths = [$"/v1/interactions/{logged["id"]}", $"/v1/customers/{customer}/timeline"];
        await UntilAsync(other, HttpStatusCode.NotFound);
        await UntilAsync(legal, HttpStatusCode.OK);
        Assert.Empty((await other.CallAsync($"/v1/interactions?customer_id={customer}", Ct)).Data);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await other.PostAsync("/v1/interactions", $$"""{"customer_id":"{{customer}}","channel":"call","direction":"inbound","started_at":"2026-03-03T00:00:00Z"}""", Ct)).Status);

        // The fields of a group are opened in the record itself, nowhere else.
        await GrantAsync("\"scope\":\"field_group\",\"field_group\":\"notes\"");
        var one = await GrantAsync($"\"scope\":\"customer\",\"customer_id\":\"{customer}\"");
        await UntilAsync(other, HttpStatusCode.OK);
        Assert.Equal((string?)logged["id"], (string?)Assert.Single((await other.CallAsync($"/v1/interactions?customer_id={customer}", Ct)).Data)["id"]);

        Assert.Equal(HttpStatusCode.NoContent, (await fixture.Contacts.CallAsync(HttpMethod.Delete, $"/v1/grants/{one}", ct: Ct)).Status);
        await UntilAsync(other, HttpStatusCode.NotFound);
        await GrantAsync("\"scope\":\"all\"");
        await UntilAsync(other, HttpStatusCode.OK);

        async Task<string> GrantAsync(string scope)
        {
            var made = await fixture.Contacts.PostAsync("/v1/grants", $$"""{"owner_department":"legal","grantee_department":"{{department}}","access":"read","reason":"A case of theirs",{{scope}}}""", Ct);
            Assert.True(made.Status == HttpStatusCode.Created, made.ToString());
            return (string)made["id"]!;
        }

        async Task UntilAsync(HttpClient caller, HttpStatusCode status)
        {
            foreach (var path in paths)
            {
                await Eventually.GetAsync(() => caller.CallAsync(path, Ct), a => a.Status == status, ct: Ct);
            }
        }
    }

    private HttpClient Of(string department) => fixture.CreateClient("interactions", new TokenSubject("key_department", Scopes.All, [], [department]));
}

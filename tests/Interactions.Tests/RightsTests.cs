using System.Net;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Contracts.Interactions.V1;
using Crm.Hosting.Auth;
using Crm.Testing;
using Grpc.Core;
using Wire = Crm.Contracts.Interactions.V1.Interactions;

namespace Interactions.Tests;

public sealed class RightsTests(InteractionsFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Who_may_not_write_notes_replaces_an_interaction_without_losing_them()
    {
        var customer = await fixture.CustomerAsync();
        var path = $"/v1/interactions/by-external-id/phone/{Guid.NewGuid():n}";
        string Body(string channel, string more) => $$"""{"customer_id":"{{customer}}","channel":"{{channel}}","direction":"inbound","started_at":"2026-03-01T10:00:00Z"{{more}}}""";
        await fixture.Api.PutAsync(path, Body("call", ""","subject":"Wrong size","body":"She wants it back","participants":["bob@corp.example"]"""), Ct);
        using var accounting = fixture.CreateClient("interactions", new TokenSubject("key_role", [Scopes.InteractionsRead, Scopes.InteractionsWrite], ["accounting"], []));

        var refused = await accounting.PutAsync(path, Body("meeting", ""","body":"Nothing" """), Ct);
        Assert.Equal((HttpStatusCode.Forbidden, "field_forbidden"), (refused.Status, refused.Code));
        Assert.Equal(["/body field_forbidden"], refused.Errors);
        var replaced = await accounting.PutAsync(path, Body("meeting", ""), Ct);
        Assert.True(replaced.Status == HttpStatusCode.OK, $"{replaced}");
        Assert.Null(replaced["body"]);
        var whole = await fixture.Api.CallAsync(path, Ct);
        Assert.Equal(
            ("meeting", "Wrong size", "She wants it back", """["bob@corp.example"]"""),
            ((string?)whole["channel"], (string?)whole["subject"], (string?)whole["body"], whole["participants"]!.ToJsonString()));
    }

    [Fact]
    public async Task A_timeline_tells_what_happened_and_to_whom_may_not_know_not_what_was_said_or_paid()
    {
        var customer = await fixture.CustomerAsync();
        await fixture.Api.PostAsync("/v1/interactions", $$"""{"customer_id":"{{customer}}","channel":"call","direction":"inbound","started_at":"2026-03-01T10:00:00Z","subject":"Wrong size"}""", Ct);
        using var analyst = fixture.CreateClient("interactions", new TokenSubject("key_role", [Scopes.InteractionsRead], ["analyst"], []));
        async Task<string?> SummaryAsync(HttpClient caller) => (string?)(await caller.CallAsync($"/v1/customers/{customer}/timeline", Ct)).Data[0]["summary"];
        Assert.Equal("call, inbound: Wrong size", await SummaryAsync(fixture.Api));
        Assert.Equal("interaction", await SummaryAsync(analyst));
    }

    [Fact]
    public async Task A_message_tells_nobody_what_the_segment_of_its_campaign_asked_of_the_customer()
    {
        var customer = await fixture.CustomerAsync();
        var day = 0;
        foreach (var (campaign, asked) in new (string, string[]?)[] { ("Open", ["contact_details"]), ("Rich", ["contact_details", "finance"]), ("Old", null) })
        {
            await fixture.Bus.PublishAsync(new MessageSent(
                Ids.Message.Format(Guid.CreateVersion7()), Ids.Campaign.Format(Guid.CreateVersion7()), campaign, customer, "email", "Hello",
                InteractionsFixture.FilledFrom.AddDays(++day), AskedGroups: asked), ct: Ct);
        }

        var timeline = $"/v1/customers/{customer}/timeline";
        await Eventually.GetAsync(() => fixture.Api.CallAsync(timeline, Ct), page => page.Data.Count == 3, ct: Ct);
        Assert.Equal("email, Old: Hello | email, Rich: Hello | email, Open: Hello", await SummariesAsync(fixture.Api));

        var support = new TokenSubject("key_role", [Scopes.InteractionsRead], ["support"], []);
        using var agent = fixture.CreateClient("interactions", support);
        Assert.Equal("message | message | email, Open: Hello", await SummariesAsync(agent));
        Assert.Equal("message | message | email, Open: Hello", await OverviewAsync(support));

        // Who sees when campaigns were launched would know by the time which one it is.
        var planning = new TokenSubject("key_role", [Scopes.InteractionsRead, Scopes.CampaignsRead], ["support"], []);
        using var planner = fixture.CreateClient("interactions", planning);
        Assert.Equal("message | email, Open: Hello", await SummariesAsync(planner));
        Assert.Equal("message | email, Open: Hello", await OverviewAsync(planning));

        async Task<string> SummariesAsync(HttpClient caller) => string.Join(" | ", (await caller.CallAsync($"{timeline}?type=message,order", Ct)).Data.Select(e => (string?)e["summary"]));

        async Task<string> OverviewAsync(TokenSubject caller) => string.Join(" | ", (await new Wire.InteractionsClient(fixture.Grpc).GetCustomerOverviewAsync(
            new GetCustomerOverviewRequest { CustomerId = customer }, new Metadata { { "authorization", $"Bearer {fixture.Token(caller)}" } }, cancellationToken: Ct)).Recent.Select(e => e.Summary));
    }
}

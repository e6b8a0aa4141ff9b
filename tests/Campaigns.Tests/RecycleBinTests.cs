using Crm.Contracts.Events;
using Crm.Hosting.Auth;
using Crm.Testing;

namespace Campaigns.Tests;

/// <summary>Customers whom somebody does not see: those in the recycle bin nobody, those of a closed department only its people.</summary>
public sealed class RecycleBinTests(CampaignsFixture fixture)
{
    [Fact]
    public async Task Messages_to_a_customer_in_the_recycle_bin_are_on_no_list_until_it_comes_back()
    {
        await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        var crowd = CampaignsFixture.Crowd(batch, 2);
        await fixture.RegisterAsync(crowd, consent: false);
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        await fixture.CompletedAsync(campaign);
        await ListedAsync(crowd[0].Id, crowd[1].Id);
        await fixture.PublishAsync(new CustomerUpdated(crowd[0] with { Version = 2, State = "deleted" }, ["state"]));
        await ListedAsync(crowd[1].Id);
        // What was sent is counted all the same.
        Assert.Equal(2, (long)(await fixture.GetAsync($"/v1/campaigns/{campaign}/results"))["members"]!);
        await fixture.PublishAsync(new CustomerUpdated(crowd[0] with { Version = 3 }, ["state"]));
        await ListedAsync(crowd[0].Id, crowd[1].Id);

        Task ListedAsync(params string[] customers) => Eventually.GetAsync(
            async () => (await fixture.GetAsync($"/v1/campaigns/{campaign}/messages"))["data"]!.AsArray().Select(m => (string)m!["customer_id"]!).Order(StringComparer.Ordinal).ToList(),
            listed => listed.SequenceEqual(customers.Order(StringComparer.Ordinal)));
    }

    [Fact]
    public async Task Members_of_a_closed_department_are_counted_listed_and_written_to_only_by_its_people_and_by_grant()
    {
        var batch = CampaignsFixture.NewBatch();
        var (open, closed) = (CampaignsFixture.Customer(batch), CampaignsFixture.Customer(batch) with { Department = "legal" });
        await fixture.RegisterAsync([open, closed], consent: false);
        var segment = (string)(await fixture.PostAsync("/v1/segments", new { name = batch, definition = CampaignsFixture.OfBatch(batch) }))["id"]!;
        var department = $"d-{batch}";
        using var legal = Of("legal");
        using var other = Of(department);
        await SeenAsync(legal, open.Id, closed.Id);
        await SeenAsync(other, open.Id);
        var grant = new GrantChanged(Crm.Contracts.Ids.Grant.Format(Guid.CreateVersion7()), 1, "legal", department, closed.Id, null, "read", null, Ended: false);
        await fixture.PublishAsync(grant);
        await SeenAsync(other, open.Id, closed.Id);
        await fixture.PublishAsync(grant with { Version = 2, Ended = true });
        await SeenAsync(other, open.Id);

        async Task SeenAsync(HttpClient caller, params string[] customers)
        {
            var page = await Eventually.GetAsync(
                () => caller.CallAsync($"/v1/segments/{segment}/members"),
                p => p.Data.Select(m => (string)m["customer_id"]!).Order(StringComparer.Ordinal).SequenceEqual(customers.Order(StringComparer.Ordinal)));
            Assert.Equal(customers.Length, page.Data.Count);
            Assert.Equal(customers.Length, (int)(await caller.CallAsync($"/v1/segments/{segment}"))["count"]!);
        }
    }

    private HttpClient Of(string department) => fixture.CreateClient("campaigns", new TokenSubject("key_department", Crm.Contracts.Scopes.All, [], [department]));
}

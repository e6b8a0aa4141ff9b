using Crm.Contracts;
using Crm.Contracts.Support.V1;
using Crm.Testing;
using Grpc.Core;
using Wire = Crm.Contracts.Support.V1.Support;

namespace Support.Tests;

public sealed class OverviewTests(SupportFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;
    private readonly Wire.SupportClient _client = new(fixture.Grpc);

    [Fact]
    public async Task The_overview_counts_what_is_open_and_shows_it_first()
    {
        var customer = await fixture.CustomerAsync();
        var ids = new List<string>();
        foreach (var type in Enumerable.Repeat("question", 8).Concat(["complaint", "complaint", "complaint", "problem"]))
        {
            ids.Add((string)(await fixture.Api.PostAsync("/v1/cases", $$"""{"customer_id":"{{customer}}","type":"{{type}}","subject":"A {{type}}"}""", Ct))["id"]!);
        }

        foreach (var solved in ids[..7].Append(ids[10]))
        {
            await fixture.Api.PostAsync($"/v1/cases/{solved}/solve", """{"resolution":"Done"}""", Ct);
        }

        await fixture.Api.PostAsync($"/v1/cases/{ids[8]}/messages", """{"direction":"outbound","body":"Which one?"}""", Ct);

        var overview = await AskAsync(customer, Scopes.CasesRead);
        Assert.Equal((4, 2), (overview.OpenCases, overview.OpenComplaints));
        Assert.Equal([11, 9, 8, 7, 10, 6, 5, 4, 3, 2], overview.Recent.Select(c => ids.IndexOf(c.Id)));
        Assert.Equal(("complaint", "A complaint", "high", "general", "waiting"),
            (overview.Recent[2].Type, overview.Recent[2].Subject, overview.Recent[2].Priority, overview.Recent[2].Queue, overview.Recent[2].Status));
    }

    [Fact]
    public async Task A_new_customer_has_no_cases()
    {
        var overview = await AskAsync(await fixture.CustomerAsync(), Scopes.CasesRead);
        Assert.Equal((0, 0, 0), (overview.OpenCases, overview.OpenComplaints, overview.Recent.Count));
    }

    [Fact]
    public async Task Nobody_is_not_found()
    {
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(() => AskAsync(Ids.Customer.Format(Guid.CreateVersion7()), Scopes.CasesRead))).StatusCode);
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(() => AskAsync("4711", Scopes.CasesRead))).StatusCode);
    }

    [Fact]
    public async Task A_caller_without_the_scope_is_refused()
    {
        var customer = await fixture.CustomerAsync();
        Assert.Equal(StatusCode.PermissionDenied, (await Assert.ThrowsAsync<RpcException>(() => AskAsync(customer, Scopes.CustomersRead))).StatusCode);
    }

    [Fact]
    public async Task All_rows_are_given_to_nobody_but_the_service_that_has_copies_of_them()
    {
        var rebuilds = new Crm.Contracts.Rebuilds.V1.Rebuilds.RebuildsClient(fixture.Grpc);
        foreach (var scope in Scopes.All)
        {
            var refused = await Assert.ThrowsAsync<RpcException>(async () => await rebuilds.ReadRowsAsync(
                new() { Event = "support.case-changed.v1", Limit = 1 }, new Metadata { { "authorization", $"Bearer {fixture.Token(scope)}" } }, cancellationToken: Ct));
            Assert.Equal(StatusCode.PermissionDenied, refused.StatusCode);
        }
    }

    private async Task<CustomerOverview> AskAsync(string customer, string scope) => await _client.GetCustomerOverviewAsync(
        new GetCustomerOverviewRequest { CustomerId = customer }, new Metadata { { "authorization", $"Bearer {fixture.Token(scope)}" } }, cancellationToken: Ct);
}

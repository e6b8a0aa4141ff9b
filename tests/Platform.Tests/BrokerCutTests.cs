using Crm.Testing;

namespace Platform.Tests;

/// <summary>Connections to the broker that are cut in the worst moment.</summary>
public sealed class BrokerCutTests(TracedPlatform fixture)
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_service_whose_connections_are_cut_while_it_makes_them_hears_what_happened()
    {
        using var api = fixture.Platform.CreateClient();
        var support = fixture.Platform["support"];
        for (var round = 0; round < 5; round++)
        {
            await support.KillAsync();
            support.Start();
            await support.WaitUntilReadyAsync(ct: Ct);
            await fixture.Platform.RabbitMq!.CloseConnectionsAsync(containing: "upport", Ct);
        }

        var created = await api.PostAsync("v1/customers", $$$"""{"kind":"person","given_name":"Cut{{{Guid.NewGuid():n}}}","source":{"type":"enquiry"}}""", Ct);
        Assert.True(Crm.Contracts.Ids.Customer.TryParse((string?)created["id"], out var id), created.ToString());
        await using var database = Npgsql.NpgsqlDataSource.Create(await fixture.Platform.ConnectionStringAsync("support"));
        await Eventually.GetAsync(
            async () =>
            {
                await using var count = database.CreateCommand("SELECT count(*) FROM customers WHERE id = $1");
                count.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = id });
                return (long)(await count.ExecuteScalarAsync(Ct))!;
            },
            count => count == 1, TimeSpan.FromSeconds(90), Ct);
    }
}

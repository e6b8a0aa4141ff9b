using Crm.Testing;

namespace Platform.Tests;

/// <summary>Connections to the broker that are cut in the worst moment.</summary>
public sealed class BrokerCutTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    [Fact]
    public async Task A_service_whose_connections_are_cut_while_it_makes_them_hears_what_happened()
    {
        var platform = Fixture.Platform;
        var support = platform["support"];
        var uri = new Uri(platform.BusUri);
        await using var broker = CuttingBroker.Before(uri.Port);
        await platform.Secrets.WriteAsync("support", "Bus__Uri", uri.OriginalString.Replace($":{uri.Port}/", $":{broker.Port}/", StringComparison.Ordinal));
        broker.CutNext(12);
        try
        {
            await support.KillAsync();
            await support.StartAsync(ct: Ct);
            await Eventually.GetAsync(() => Task.FromResult(broker.Cut), cut => cut == 12, TimeSpan.FromSeconds(90), Ct);

            var created = await Api.PostAsync("v1/customers", $$$"""{"kind":"person","given_name":"Cut{{{Guid.NewGuid():n}}}","source":{"type":"enquiry"}}""", Ct);
            Assert.True(Crm.Contracts.Ids.Customer.TryParse((string?)created["id"], out var id), created.ToString());
            await using var database = Npgsql.NpgsqlDataSource.Create(await platform.ConnectionStringAsync("support"));
            await Eventually.GetAsync(
                async () =>
                {
                    await using var count = database.CreateCommand("SELECT count(*) FROM customers WHERE id = $1");
                    count.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = id });
                    return (long)(await count.ExecuteScalarAsync(Ct))!;
                },
                count => count == 1, TimeSpan.FromSeconds(90), Ct);
        }
        finally
        {
            await platform.Secrets.WriteAsync("support", "Bus__Uri", uri.OriginalString);
            await support.KillAsync();
            await support.StartAsync(ct: CancellationToken.None);
        }
    }
}

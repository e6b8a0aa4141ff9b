using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Testing;
using Npgsql;

namespace BillingSync.Tests;

public sealed class BillingAccountTests(BillingFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_an_account_was_is_in_the_audit_log_until_its_customer_is_erased()
    {
        var customer = await fixture.CreateCustomerAsync();
        var path = $"/v1/customers/{customer}/billing-accounts/stripe";
        await fixture.Billing.PutAsync(path, """{"provider_customer_id":"acct_1","subscription":"none"}""");
        foreach (var _ in (int[])[1, 2])
        {
            await fixture.Billing.PutAsync(path, """{"provider_customer_id":"acct_1","subscription":"active"}""", HttpStatusCode.OK);
        }

        await using var database = await fixture.DatabaseAsync("billing-sync");
        await using var entries = database.CreateCommand("""
            SELECT e.action || ' ' || e.actor, v.changes FROM audit_entry e LEFT JOIN audit_value v ON v.entry_id = e.id
            WHERE e.record_type = 'billing_account' AND e.customer_id = $1 ORDER BY e.id
            """);
        entries.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Ids.Customer.Parse(customer) });
        var written = await ReadAsync();
        Assert.Equal(["created key_test", "updated key_test"], written.Select(e => e.What));
        Assert.Equal("acct_1", (string?)written[0].Changes!["provider_customer_id"]!["new"]);
        Assert.Equal("""{"subscription":{"old":"none","new":"active"}}""", written[1].Changes!.ToJsonString());

        Assert.Equal(HttpStatusCode.Accepted, (await fixture.Contacts.CallAsync(HttpMethod.Post, $"/v1/customers/{customer}/erasures", """{"reason":"Asked for"}""", [("If-Match", "*")], Ct)).Status);
        var left = await Eventually.GetAsync(ReadAsync, l => l.TrueForAll(e => e.Changes is null), ct: Ct);
        Assert.Equal(2, left.Count);

        async Task<List<(string What, JsonNode? Changes)>> ReadAsync()
        {
            var read = new List<(string, JsonNode?)>();
            await using var reader = await entries.ExecuteReaderAsync(Ct);
            while (await reader.ReadAsync(Ct))
            {
                read.Add((reader.GetString(0), reader.IsDBNull(1) ? null : JsonNode.Parse(reader.GetString(1))));
            }

            return read;
        }
    }
}

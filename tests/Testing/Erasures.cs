using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Events;
using Npgsql;
using Xunit;
using static Crm.Testing.JsonCalls;

namespace Crm.Testing;

/// <summary>Erasures of people whose addresses stand in the records of others, as one service hears of them.</summary>
public static class Erasures
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public static string NewAddress() => $"zq{Guid.NewGuid():n}@example.com";

    /// <summary>The id of a new person of whom nobody but Contacts need know yet.</summary>
    public static async Task<string> PersonAsync(this OneServiceFixture fixture, string address) => (string)(await OkAsync(fixture.Contacts.PostAsync(
        "/v1/customers", $$$"""{"kind":"person","given_name":"Ada","family_name":"Byron {{{Guid.NewGuid():n}}}","emails":[{"address":"{{{address}}}"}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;

    public static Task<JsonNode> ChangeAddressAsync(this OneServiceFixture fixture, string customer, string address) =>
        OkAsync(fixture.Contacts.PatchAsync($"/v1/customers/{customer}", $$"""{"emails":[{"address":"{{address}}"}]}""", "*", Ct));

    /// <summary>Asks for the erasure; what the service has signed.</summary>
    public static async Task<JsonNode> EraseAsync(this OneServiceFixture fixture, string customer)
    {
        var asked = await fixture.Contacts.CallAsync(HttpMethod.Post, $"/v1/customers/{customer}/erasures", """{"reason":"Asked for"}""", [("If-Match", "*")], Ct);
        Assert.True(asked.Status == HttpStatusCode.Accepted, asked.ToString());
        return Receipt(await Eventually.GetAsync(() => fixture.Contacts.CallAsync($"/v1/erasures/{asked["id"]}", Ct), e => Receipt(e) is not null, ct: Ct))!;

        JsonNode? Receipt(JsonAnswer answer) => answer["receipts"]?.AsArray().FirstOrDefault(r => (string?)r!["service"] == fixture.Service);
    }

    /// <summary>The service hears twice, and late, that somebody was erased who had the address; returns when it has.</summary>
    public static async Task HearOfErasureAsync(this OneServiceFixture fixture, string address)
    {
        var (erased, at) = (Ids.Customer.Format(Guid.CreateVersion7()), DateTimeOffset.UtcNow);
        var tombstone = new CustomerSnapshot(
            erased, 2, "person", "", null, null, null, null, null, null, "prospect", "standard", null, new Dictionary<string, JsonElement>(), "erased", null, at, at);
        var digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(address)));
        var heard = new CustomersErased(Ids.Erasure.Format(Guid.CreateVersion7()), erased, [tombstone], at, at, [digest]);
        Guid[] messages = [Guid.CreateVersion7(), Guid.CreateVersion7()];
        foreach (var message in messages)
        {
            await fixture.Bus.PublishAsync(heard, message, Ct);
        }

        await fixture.InboxHoldsAsync(messages);
    }

    /// <summary>Waits until the service's copy has a customer with the address.</summary>
    public static Task KnowsAsync(this OneServiceFixture fixture, string address) => Eventually.GetAsync(
        () => fixture.CountAsync("SELECT count(*) FROM customers WHERE primary_email = $1", address), known => known == 1, ct: Ct);

    /// <summary>Stored answers with the text in them.</summary>
    public static Task<long> StoredAnswersAsync(this OneServiceFixture fixture, string text) =>
        fixture.CountAsync("SELECT count(*) FROM idempotency WHERE strpos(convert_from(body, 'UTF8'), $1) > 0", text);

    /// <summary>How the service's database finds the rows when a scan of the table is the last thing that it would do.</summary>
    public static async Task<string> PlanAsync(this OneServiceFixture fixture, string query)
    {
        await using var connection = await fixture.Database.OpenConnectionAsync(Ct);
        await using var transaction = await connection.BeginTransactionAsync(Ct);
        await using (var alone = new NpgsqlCommand("SET LOCAL enable_seqscan = off", connection, transaction))
        {
            await alone.ExecuteNonQueryAsync(Ct);
        }

#pragma warning disable CA2100 // A constant of the test.
        await using var explain = new NpgsqlCommand($"EXPLAIN {query}", connection, transaction);
#pragma warning restore CA2100
        await using var reader = await explain.ExecuteReaderAsync(Ct);
        var plan = new StringBuilder();
        while (await reader.ReadAsync(Ct))
        {
            plan.AppendLine(reader.GetString(0));
        }

        return plan.ToString();
    }
}

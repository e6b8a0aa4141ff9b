using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Testing;
using Npgsql;

namespace Platform.Tests;

/// <summary>Imports through the public door: larger than any other body, and in every copy.</summary>
[Collection(TracedPlatform.Collection)]
public sealed class ImportTests(TracedPlatform fixture)
{
    private static readonly string[] Copies = ["interactions", "campaigns", "billing-sync", "support"];

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_an_import_makes_and_its_undo_takes_back_is_the_same_in_every_copy()
    {
        using var client = fixture.Platform.CreateClient();
        var batch = $"b{Guid.NewGuid():n}";
        var body = string.Join('\n', Enumerable.Range(0, 6000).Select(i => $$$"""
            {"kind":"person","given_name":"Ada{{{i}}}","emails":[{"address":"{{{batch}}}-{{{i}}}@example.com"}],"external_ids":[{"system":"shop","id":"{{{batch}}}-{{{i}}}"}],"attributes":{"batch":"{{{batch}}}","note":"{{{new string('x', 300)}}}"}}
            """));
        Assert.True(body.Length > 2_000_000);
        using var content = new StringContent(body, Encoding.UTF8, "application/x-ndjson");
        using var accepted = await client.PostAsync("/v1/imports", content, Ct);
        var import = JsonNode.Parse(await accepted.Content.ReadAsStringAsync(Ct))!;
        Assert.True(accepted.StatusCode == HttpStatusCode.Accepted, import.ToJsonString());
        var path = accepted.Headers.Location!.ToString();
        var done = await Eventually.GetAsync(() => client.CallAsync(path, Ct), a => (string?)a["status"] == "completed", TimeSpan.FromMinutes(2), Ct);
        Assert.Equal(6000, (int)done["created"]!);
        await UntilAsync(batch, "active");

        Assert.Equal(HttpStatusCode.Accepted, (await client.PostAsync($"{path}/undo", "{}", Ct)).Status);
        await Eventually.GetAsync(() => client.CallAsync(path, Ct), a => (string?)a["status"] == "undone", TimeSpan.FromMinutes(2), Ct);
        await UntilAsync(batch, "removed");
    }

    [Fact]
    public async Task Any_other_body_is_still_a_megabyte_at_most()
    {
        using var client = fixture.Platform.CreateClient();
        using var content = new StringContent($$"""{"name":"{{new string('x', 2_000_000)}}"}""", Encoding.UTF8, "application/json");
        using var request = new HttpRequestMessage(HttpMethod.Put, "/v1/import-mappings/large") { Content = content };
        request.Headers.ExpectContinue = true;
        using var answer = await client.SendAsync(request, Ct);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.StatusCode);
    }

    /// <summary>Waits until each copy has the six thousand in this state, and nothing of who was removed.</summary>
    private async Task UntilAsync(string batch, string state)
    {
        await using var contacts = NpgsqlDataSource.Create(await fixture.Platform.ConnectionStringAsync("contacts"));
        var ids = new List<Guid>();
        await using (var command = contacts.CreateCommand("SELECT customer_id FROM import_results r JOIN customers c ON c.id = r.customer_id WHERE c.state = $1 AND (c.state = 'removed' OR c.attributes ->> 'batch' = $2)"))
        {
            command.Parameters.AddWithValue(state);
            command.Parameters.AddWithValue(batch);
            await using var reader = await command.ExecuteReaderAsync(Ct);
            while (await reader.ReadAsync(Ct))
            {
                ids.Add(reader.GetGuid(0));
            }
        }

        Assert.Equal(6000, ids.Count);
        foreach (var copy in Copies)
        {
            await using var database = NpgsqlDataSource.Create(await fixture.Platform.ConnectionStringAsync(copy));
            await Eventually.GetAsync(
                async () =>
                {
                    await using var count = database.CreateCommand("SELECT count(*) FROM customers WHERE id = ANY ($1) AND state = $2 AND ($2 = 'active' OR (given_name IS NULL AND primary_email IS NULL))");
                    count.Parameters.AddWithValue(ids);
                    count.Parameters.AddWithValue(state);
                    return (long)(await count.ExecuteScalarAsync(Ct))!;
                },
                found => found == 6000, TimeSpan.FromSeconds(60), Ct);
        }
    }
}

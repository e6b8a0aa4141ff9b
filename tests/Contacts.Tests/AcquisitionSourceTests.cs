using System.Net;
using System.Text.Json.Nodes;
using Npgsql;

namespace Contacts.Tests;

/// <summary>Every new customer says how it was won, and the report counts it.</summary>
public sealed class AcquisitionSourceTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task A_customer_without_a_source_is_neither_created_nor_upserted()
    {
        var email = NewEmail();
        var body = $$$"""{"kind":"person","given_name":"Whence","emails":[{"address":"{{{email}}}"}]}""";
        var (created, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", body);
        AssertProblem(created, problem, 422, "unprocessable", "/source");
        var path = $"/v1/customers/by-external-id/shop/{Unique()}";
        var (upserted, refused) = await SendAsync(HttpMethod.Put, path, body);
        AssertProblem(upserted, refused, 422, "unprocessable", "/source");
        var (_, found) = await SendAsync(HttpMethod.Get, $"/v1/customers?email={email}");
        Assert.Empty(found["data"]!.AsArray());

        // Who is there already is changed without saying it again.
        var (first, _) = await SendAsync(HttpMethod.Put, path, """{"kind":"person","given_name":"Whence","source":{"type":"referral"}}""");
        Assert.Equal(HttpStatusCode.Created, first.StatusCode);
        var (again, changed) = await SendAsync(HttpMethod.Put, path, """{"given_name":"Hither"}""");
        Assert.Equal((HttpStatusCode.OK, "referral"), (again.StatusCode, (string?)changed["source"]!["type"]));
    }

    [Fact]
    public async Task The_report_counts_the_customers_of_a_period_by_source_and_state()
    {
        // A period of its own: nobody else's customers were created in these seconds.
        var start = new DateTimeOffset(2001, 1, 1, 0, 0, 0, TimeSpan.Zero).AddSeconds(Random.Shared.Next(100_000_000));
        var sources = new[] { ("referral", "prospect"), ("referral", "active_buyer"), ("referral", "active_buyer"), ("competitor", "prospect"), ("lapsed", "enquiry") };
        await using var database = await Fixture.DatabaseAsync("contacts");
        foreach (var ((source, lifecycle), index) in sources.Select((s, i) => (s, i)))
        {
            var customer = await CreateAsync($$$"""{"kind":"person","given_name":"Rep","lifecycle":"{{{lifecycle}}}","source":{"type":"{{{source}}}"}}""");
            Assert.True(Crm.Contracts.Ids.Customer.TryParse((string?)customer["id"], out var id));
            await using var date = database.CreateCommand("UPDATE customers SET created_at = $1 WHERE id = $2");
            date.Parameters.Add(new NpgsqlParameter<DateTime> { TypedValue = start.AddMilliseconds(100 * index).UtcDateTime });
            date.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = id });
            await date.ExecuteNonQueryAsync(Ct);
        }

        var report = await ReportAsync($"created_at[gte]={Text(start)}&created_at[lt]={Text(start.AddSeconds(1))}");
        Assert.Equal(5, (int)report["customers"]!);
        Assert.Equal(
            ["referral 3: prospect 1, active_buyer 2", "lapsed 1: enquiry 1", "competitor 1: prospect 1"],
            report["data"]!.AsArray().Select(s =>
                $"{s!["source"]} {s["customers"]}: {string.Join(", ", s["by_lifecycle"]!.AsArray().Select(l => $"{l!["lifecycle"]} {l["customers"]}"))}"));
        var part = await ReportAsync($"created_at[gte]={Text(start.AddMilliseconds(300))}&created_at[lt]={Text(start.AddMilliseconds(400))}");
        Assert.Equal(("competitor", 1), ((string?)Assert.Single(part["data"]!.AsArray())!["source"], (int)part["customers"]!));

        var (wrong, problem) = await SendAsync(HttpMethod.Get, "/v1/reports/acquisition-sources?created_at[gte]=yesterday");
        AssertProblem(wrong, problem, 400, "invalid_parameter", "created_at[gte]");

        static string Text(DateTimeOffset instant) => instant.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", System.Globalization.CultureInfo.InvariantCulture);
    }

    private async Task<JsonNode> ReportAsync(string query)
    {
        var (response, report) = await SendAsync(HttpMethod.Get, $"/v1/reports/acquisition-sources?{query}");
        Assert.True(response.IsSuccessStatusCode, report.ToJsonString());
        return report;
    }
}

using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using Crm.Testing;

namespace Gateway.Tests;

/// <summary>One platform for the classes that need all of it, one after the other.</summary>
[CollectionDefinition(Name)]
public sealed class WholePlatform : ICollectionFixture<PlatformFixture>
{
    public const string Name = "whole platform";
}

/// <summary>The gateway in front of the real services.</summary>
[Collection(WholePlatform.Name)]
public sealed class WholePlatformTests(PlatformFixture fixture)
{
    private static readonly string[] Parts = ["customer", "interactions", "campaigns", "billing", "support"];

    [Fact]
    public async Task What_the_services_say_of_themselves_is_the_committed_document()
    {
        var made = Path.GetTempFileName();
        try
        {
            var result = await fixture.Platform["gateway"].RunModeAsync(["--openapi", made]);
            Assert.True(result.ExitCode == 0, result.Output);
            var (committed, now) = (await File.ReadAllLinesAsync(OpenApiTests.DocumentFile), await File.ReadAllLinesAsync(made));
            var line = Enumerable.Range(0, Math.Max(committed.Length, now.Length)).FirstOrDefault(i => committed.ElementAtOrDefault(i) != now.ElementAtOrDefault(i), -1);
            Assert.True(line < 0, $"gateway/openapi/v1.json is not what the services say: run eng/openapi.sh. Line {line + 1} is{Environment.NewLine}{committed.ElementAtOrDefault(line)}{Environment.NewLine}{now.ElementAtOrDefault(line)}");
        }
        finally
        {
            File.Delete(made);
        }
    }

    [Fact]
    public async Task Every_documented_operation_is_served_and_asks_for_credentials()
    {
        using var document = JsonDocument.Parse(await File.ReadAllTextAsync(OpenApiTests.DocumentFile));
        using var nobody = fixture.Platform.CreateClient(null);
        using var admin = fixture.Platform.CreateClient("admin");
        foreach (var path in document.RootElement.GetProperty("paths").EnumerateObject())
        {
            foreach (var operation in path.Value.EnumerateObject())
            {
                var address = path.Name[1..].Replace("{", "", StringComparison.Ordinal).Replace("}", "", StringComparison.Ordinal);
                async Task<HttpResponseMessage> SendAsync(HttpClient client)
                {
                    using var request = new HttpRequestMessage(HttpMethod.Parse(operation.Name), address);
                    if (operation.Value.TryGetProperty("requestBody", out _))
                    {
                        request.Content = JsonContent.Create(new { });
                    }

                    return await client.SendAsync(request);
                }

                if (operation.Value.GetProperty("security").GetArrayLength() == 0)
                {
                    continue;
                }

                await (await SendAsync(nobody)).ProblemAsync(401, "unauthenticated");
                // With credentials the request is refused for what it says, never because nobody serves it.
                using var answer = await SendAsync(admin);
                var text = await answer.Content.ReadAsStringAsync();
                Assert.True((int)answer.StatusCode is not (401 or 403 or 405) and < 500, $"{operation.Name} {path.Name}: {(int)answer.StatusCode} {text}");
                Assert.False(text.Contains("nothing at this path", StringComparison.Ordinal), $"{operation.Name} {path.Name}: {text}");
                Assert.True(operation.Value.GetProperty("responses").TryGetProperty(((int)answer.StatusCode).ToString(System.Globalization.CultureInfo.InvariantCulture), out _), $"{operation.Name} {path.Name}: {(int)answer.StatusCode} is not documented.");
            }
        }
    }

    [Fact]
    public async Task A_service_that_hangs_or_is_away_leaves_its_part_and_the_rest_is_answered()
    {
        using var client = fixture.Platform.CreateClient();
        var created = await (await client.PostAsJsonAsync("v1/customers", new { kind = "person", given_name = "Ada", family_name = "Byron", emails = new[] { new { address = "ada.overview@example.com" } }, source = new { type = "enquiry" } })).OkAsync(201);
        var path = $"v1/customers/{created.GetProperty("id").GetString()}/overview";
        await UntilWholeAsync(client, path);

        // The customer's part is what the customer is.
        var overview = await (await client.GetAsync(path)).OkAsync();
        foreach (var field in created.EnumerateObject())
        {
            Assert.True(overview.GetProperty("customer").TryGetProperty(field.Name, out var same), $"{field.Name} is not in the overview.");
            Assert.True(JsonElement.DeepEquals(field.Value, same), $"{field.Name}: {field.Value} and {same}");
        }

        foreach (var (service, part) in new[] { ("contacts", "customer"), ("billing-sync", "billing") })
        {
            var process = fixture.Platform[service].Process!;
            await process.FreezeAsync();
            try
            {
                var start = Stopwatch.GetTimestamp();
                var frozen = await (await client.GetAsync(path)).OkAsync();
                Assert.True(Stopwatch.GetElapsedTime(start) >= TimeSpan.FromSeconds(4.9), $"The part was not waited for until its deadline: {frozen.GetProperty(part)}");
                Assert.Equal(("unavailable", "timeout"), (Status(frozen, part), frozen.GetProperty(part).GetProperty("reason").GetString()));
                Assert.All(Parts.Where(p => p != part), p => Assert.Equal("ok", Status(frozen, p)));
            }
            finally
            {
                process.Thaw();
            }

            await UntilWholeAsync(client, path);
        }

        await fixture.Platform["support"].KillAsync();
        var without = await (await client.GetAsync(path)).OkAsync();
        Assert.Equal(("unavailable", "unreachable"), (Status(without, "support"), without.GetProperty("support").GetProperty("reason").GetString()));
        Assert.All(Parts.Where(p => p != "support"), p => Assert.Equal("ok", Status(without, p)));
        using (var cases = await client.GetAsync("v1/cases"))
        {
            Assert.Contains(((int)cases.StatusCode), (int[])[502, 503]);
        }

        await fixture.Platform["support"].StartAsync();
        await UntilWholeAsync(client, path);
    }

    [Fact]
    public async Task An_unknown_customer_is_not_found()
    {
        using var client = fixture.Platform.CreateClient();
        // Contacts may be late when it is asked for the first time; the overview says so then, with 200.
        var answer = await Eventually.GetAsync(
            () => client.GetAsync($"v1/customers/{Crm.Contracts.Ids.Customer.Format(Guid.CreateVersion7())}/overview"), a => a.StatusCode != System.Net.HttpStatusCode.OK);
        await answer.ProblemAsync(404, "not_found");
    }

    private static Task UntilWholeAsync(HttpClient client, string path) =>
        Eventually.GetAsync(async () => await (await client.GetAsync(path)).OkAsync(), overview => Parts.All(p => Status(overview, p) == "ok"));

    private static string? Status(JsonElement overview, string part) => overview.GetProperty(part).GetProperty("status").GetString();
}

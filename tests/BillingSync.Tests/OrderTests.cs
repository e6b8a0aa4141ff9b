using System.Net;
using System.Text.Json.Nodes;

namespace BillingSync.Tests;

public sealed class OrderTests(BillingFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;
    private readonly HttpClient _billing = fixture.Billing;

    [Fact]
    public async Task An_order_is_created_then_unchanged_then_replaced_whole()
    {
        var customer = await fixture.CreateCustomerAsync();
        var path = Http.NewPath("orders");
        var first = $$"""
            {"customer_id":"{{customer}}","placed_at":"1997-01-01T12:00:00.123456+02:00","lines":[{"sku":"CD-1","description":"Blue","quantity":2,"unit_price":{"amount_minor":1195,"currency":"USD"} },
             {"sku":"TEA","quantity":0.25}],"total":{"amount_minor":2390,"currency":"USD"},"status":"completed"}
            """;

        var created = await _billing.PutAsync(path, first);
        Assert.Equal("created", (string?)created["result"]);
        Assert.Equal(1, (long)created["version"]!);
        var unchanged = await _billing.PutAsync(path, first.Replace("\"quantity\":2,", "\"quantity\":2.00,", StringComparison.Ordinal), HttpStatusCode.OK);
        Assert.Equal("unchanged", (string?)unchanged["result"]);

        using var byId = await _billing.GetAsync($"/v1/orders/{(string)created["id"]!}", Ct);
        Assert.Equal("\"1\"", byId.Headers.ETag!.Tag);
        var read = await byId.BodyAsync();
        Assert.Null(read["result"]);
        Assert.Equal("1997-01-01T10:00:00.123456Z", (string?)read["placed_at"]);
        Assert.Equal(0.25m, (decimal)read["lines"]![1]!["quantity"]!);
        Assert.Null(read["lines"]![1]!["unit_price"]);
        created.AsObject().Remove("result");
        unchanged.AsObject().Remove("result");
        Assert.True(JsonNode.DeepEquals(created, unchanged), $"{created} {unchanged}");
        Assert.True(JsonNode.DeepEquals(created, read), $"{created} {read}");

        var updated = await _billing.PutAsync(path, Order(customer, total: 0, status: "returned"), HttpStatusCode.OK);
        Assert.Equal("updated", (string?)updated["result"]);
        Assert.Equal(2, (long)updated["version"]!);
        Assert.Empty(updated["lines"]!.AsArray());
        var byExternalId = await _billing.GetJsonAsync(path);
        updated.AsObject().Remove("result");
        Assert.True(JsonNode.DeepEquals(updated, byExternalId));

        var events = await fixture.EventsOfAsync((string)created["id"]!, expected: 2);
        Assert.Equal([1L, 2L], events.Select(e => (long)e["version"]!));
        Assert.Equal(2.25m, (decimal)events[0]["quantity"]!);
        Assert.Equal(customer, (string?)events[0]["customerId"]);
        Assert.Equal(2390, (long)events[0]["total"]!["amountMinor"]!);
        Assert.Equal("returned", (string?)events[1]["status"]);
    }

    [Fact]
    public async Task Fifty_equal_puts_at_once_make_one_order_one_event_and_equal_answers()
    {
        var customer = await fixture.CreateCustomerAsync();
        var path = Http.NewPath("orders");
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(async _ =>
        {
            using var response = await _billing.SendAsync(HttpMethod.Put, path, Order(customer));
            return (response.StatusCode, Body: await response.BodyAsync());
        }));

        Assert.Equal(1, answers.Count(a => a.StatusCode == HttpStatusCode.Created && (string?)a.Body["result"] == "created"));
        Assert.Equal(49, answers.Count(a => a.StatusCode == HttpStatusCode.OK && (string?)a.Body["result"] == "unchanged"));
        Assert.Single(answers.Select(a =>
        {
            a.Body.AsObject().Remove("result");
            return a.Body.ToJsonString();
        }).Distinct());
        Assert.Single(await fixture.EventsOfAsync((string)answers[0].Body["id"]!, expected: 1));
        Assert.Single((await _billing.GetJsonAsync($"/v1/orders?customer_id={customer}"))["data"]!.AsArray());
    }

    [Fact]
    public async Task Different_puts_at_once_all_succeed_and_the_last_one_stays()
    {
        var customer = await fixture.CreateCustomerAsync();
        for (var round = 0; round < 10; round++)
        {
            var path = Http.NewPath("orders");
            var writers = round == 0 ? 20 : 2;
            var answers = await Task.WhenAll(Enumerable.Range(1, writers).Select(async i =>
            {
                using var response = await _billing.SendAsync(HttpMethod.Put, path, Order(customer, total: i));
                Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync(Ct));
                return await response.BodyAsync();
            }));

            Assert.Equal(Enumerable.Range(1, writers).Select(v => (long)v), answers.Select(a => (long)a["version"]!).Order());
            var last = answers.MaxBy(a => (long)a["version"]!)!;
            Assert.Equal((long)last["total"]!["amount_minor"]!, (long)(await _billing.GetJsonAsync(path))["total"]!["amount_minor"]!);
            if (round < 2)
            {
                var events = await fixture.EventsOfAsync((string)last["id"]!, expected: writers);
                Assert.Equal(Enumerable.Range(1, writers).Select(v => (long)v), events.Select(e => (long)e["version"]!));
            }
        }
    }

    [Theory]
    [InlineData("""{"customer_id":null}""", "/customer_id", "required")]
    [InlineData("""{"customer_id":"ord_01"}""", "/customer_id", "wrong_format")]
    [InlineData("""{"placed_at":null}""", "/placed_at", "required")]
    [InlineData("""{"placed_at":"1997-01-01"}""", "/placed_at", "wrong_type")]
    [InlineData("""{"status":"shipped"}""", "/status", "wrong_type")]
    [InlineData("""{"status":null}""", "/status", "required")]
    [InlineData("""{"total":null}""", "/total", "required")]
    [InlineData("""{"total":{"currency":"USD"}}""", "/total/amount_minor", "required")]
    [InlineData("""{"total":{"amount_minor":-1,"currency":"USD"}}""", "/total/amount_minor", "out_of_range")]
    [InlineData("""{"total":{"amount_minor":900000000000000000,"currency":"USD"}}""", "/total/amount_minor", "out_of_range")]
    [InlineData("""{"total":{"amount_minor":9000000000000000000000,"currency":"USD"}}""", "/total/amount_minor", "wrong_type")]
    [InlineData("""{"total":{"amount_minor":1.5,"currency":"USD"}}""", "/total/amount_minor", "wrong_type")]
    [InlineData("""{"total":{"amount_minor":1,"currency":"usd"}}""", "/total/currency", "wrong_format")]
    [InlineData("""{"lines":[null]}""", "/lines/0", "wrong_type")]
    [InlineData("""{"lines":[{"sku":"a","quantity":1},{"sku":"a","quantity":0}]}""", "/lines/1/quantity", "out_of_range")]
    [InlineData("""{"lines":[{"sku":"a","quantity":-0.5}]}""", "/lines/0/quantity", "out_of_range")]
    [InlineData("""{"lines":[{"sku":"a","quantity":0.0000001}]}""", "/lines/0/quantity", "out_of_range")]
    [InlineData("""{"lines":[{"sku":"a","quantity":1e40}]}""", "/lines/0/quantity", "wrong_type")]
    [InlineData("""{"lines":[{"quantity":1}]}""", "/lines/0/sku", "required")]
    [InlineData("""{"lines":[{"sku":"a","quantity":1,"unit_price":{"amount_minor":1,"currency":"EUR"}}]}""", "/lines/0/unit_price/currency", "wrong_currency")]
    [InlineData("""{"coupon":"x"}""", "/coupon", "unknown_field")]
    public async Task An_order_that_is_not_valid_is_refused_at_its_field(string change, string pointer, string code)
    {
        var order = JsonNode.Parse(Order(await fixture.CreateCustomerAsync()))!.AsObject();
        foreach (var (name, value) in JsonNode.Parse(change)!.AsObject())
        {
            order[name] = value?.DeepClone();
        }

        var path = Http.NewPath("orders");
        var problem = await _billing.PutAsync(path, order.ToJsonString(), HttpStatusCode.BadRequest);
        Http.HasError(problem, "validation_failed", pointer, code);
        await _billing.GetJsonAsync(path, HttpStatusCode.NotFound);
    }

    [Fact]
    public async Task An_order_of_nobody_is_refused()
    {
        var problem = await _billing.PutAsync(Http.NewPath("orders"), Order("cus_00000000000000000000000000"), HttpStatusCode.UnprocessableEntity);
        Http.HasError(problem, "unknown_customer", "/customer_id");
    }

    [Theory]
    [InlineData("/v1/orders/by-external-id/Shop/1", "source")]
    [InlineData("/v1/orders/by-external-id/shop/%20", "externalId")]
    [InlineData("/v1/orders/by-external-id/shop/a%0Ab", "externalId")]
    public async Task An_external_id_is_a_word_and_a_line(string path, string pointer)
    {
        var problem = await _billing.PutAsync(path, Order(await fixture.CreateCustomerAsync()), HttpStatusCode.BadRequest);
        Http.HasError(problem, "validation_failed", pointer, "wrong_format");
    }

    [Fact]
    public async Task An_order_without_an_external_id_is_created_once_per_idempotency_key()
    {
        var customer = await fixture.CreateCustomerAsync();
        var key = Guid.NewGuid().ToString();
        async Task<HttpResponseMessage> PostAsync()
        {
            var request = new HttpRequestMessage(HttpMethod.Post, "/v1/orders") { Content = Http.Json(Order(customer)) };
            request.Headers.Add("Idempotency-Key", key);
            return await _billing.SendAsync(request, Ct);
        }

        var first = await PostAsync();
        var again = await PostAsync();
        Assert.Equal(HttpStatusCode.Created, first.StatusCode);
        Assert.Equal("true", again.Headers.GetValues("Idempotent-Replayed").Single());
        Assert.Equal(await first.Content.ReadAsStringAsync(Ct), await again.Content.ReadAsStringAsync(Ct));
        var read = await _billing.GetJsonAsync(first.Headers.Location!.ToString());
        Assert.Null(read["external_id"]);
        Assert.Single(await fixture.EventsOfAsync((string)read["id"]!, expected: 1));
    }

    [Fact]
    public async Task Paging_shows_each_order_once_and_filters_hold()
    {
        var (customer, other) = (await fixture.CreateCustomerAsync(), await fixture.CreateCustomerAsync());
        var made = new List<string>();
        for (var i = 0; i < 7; i++)
        {
            made.Add((string)(await _billing.PutAsync(Http.NewPath("orders"), Order(customer, status: i % 2 == 0 ? "completed" : "pending")))["id"]!);
            await _billing.PutAsync(Http.NewPath("orders"), Order(other));
        }

        var seen = new List<string>();
        string? cursor = null;
        do
        {
            var page = await _billing.GetJsonAsync($"/v1/orders?customer_id={customer}&limit=3{(cursor is null ? "" : $"&cursor={cursor}")}");
            seen.AddRange(page["data"]!.AsArray().Select(o => (string)o!["id"]!));
            cursor = (string?)page["next_cursor"];
            Assert.Equal(cursor is not null, (bool)page["has_more"]!);
        }
        while (cursor is not null);
        Assert.Equal(Enumerable.Reverse(made), seen);

        var pending = await _billing.GetJsonAsync($"/v1/orders?customer_id={customer}&status=pending");
        Assert.Equal([made[5], made[3], made[1]], pending["data"]!.AsArray().Select(o => (string)o!["id"]!));
        Assert.Equal("unknown_parameter", (string?)(await _billing.GetJsonAsync("/v1/orders?colour=red", HttpStatusCode.BadRequest))["code"]);
        Assert.Equal("invalid_parameter", (string?)(await _billing.GetJsonAsync("/v1/orders?status=shipped", HttpStatusCode.BadRequest))["code"]);
        Assert.Equal("invalid_parameter", (string?)(await _billing.GetJsonAsync("/v1/orders?customer_id=1", HttpStatusCode.BadRequest))["code"]);
        Assert.Equal("invalid_parameter", (string?)(await _billing.GetJsonAsync("/v1/orders?limit=101", HttpStatusCode.BadRequest))["code"]);
    }

    [Fact]
    public async Task Reading_and_writing_need_their_scopes()
    {
        var customer = await fixture.CreateCustomerAsync();
        using var reader = fixture.CreateClient("billing-sync", "billing:read");
        using var writer = fixture.CreateClient("billing-sync", "billing:write");
        var path = Http.NewPath("orders");
        Assert.Equal("insufficient_scope", (string?)(await reader.PutAsync(path, Order(customer), HttpStatusCode.Forbidden))["code"]);
        await writer.PutAsync(path, Order(customer));
        Assert.Equal("insufficient_scope", (string?)(await writer.GetJsonAsync(path, HttpStatusCode.Forbidden))["code"]);
        Assert.Equal("insufficient_scope", (string?)(await writer.GetJsonAsync($"/v1/customers/{customer}/account", HttpStatusCode.Forbidden))["code"]);
        await reader.GetJsonAsync(path);
    }

    internal static string Order(string customer, long total = 2390, string status = "completed", string currency = "USD", string placedAt = "1997-06-01T00:00:00Z") =>
        $$$"""{"customer_id":"{{{customer}}}","placed_at":"{{{placedAt}}}","lines":[],"total":{"amount_minor":{{{total}}},"currency":"{{{currency}}}"},"status":"{{{status}}}"}""";
}

using System.Text.Json;
using Crm.Runner.Demo;

namespace Crm.Runner.Commands;

/// <summary>Fills the running platform with a small sample company, through the public API only. Run again, it changes nothing.</summary>
internal static class DemoCommand
{
    private const string Source = "demo";

    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        using var installation = Installation.Look(Topology.FindRoot());
        using var api = ApiClient.OfInstallation(installation);
        var progress = new Progress();

        // Everything is counted back from the day of the first run, so that a second one writes the same.
        var first = await api.FindAsync($"v1/customers/by-external-id/{Source}/1", ct);
        var day = new DateTimeOffset((first?.GetProperty("created_at").GetDateTimeOffset() ?? DateTimeOffset.UtcNow).UtcDateTime.Date, TimeSpan.Zero);
        var company = new SampleCompany(day);
        Console.WriteLine("Sample data, generated: Field & Fell, a maker of outdoor gear. No person, shop or order is real.");

        await EachAsync(SampleCompany.Products, p => api.PutAsync(
            $"v1/products/by-external-id/{Source}/{p.Sku}", new { sku = p.Sku, name = p.Name, unit_price = new { amount_minor = p.Pence, currency = "GBP" } }, ct));
        progress.Step("products", $"{SampleCompany.Products.Count}");

        var ids = new string[company.Customers.Count + 1];
        await EachAsync(company.Customers, async c =>
        {
            var answer = await api.PutAsync($"v1/customers/by-external-id/{Source}/{c.Number}", c.Body, ct);
            ids[c.Number] = answer.GetProperty("id").GetString()!;
        });
        progress.Step("customers", $"{company.Customers.Count}");

        var statements = company.Customers.Where(c => c.MarketingConsent is not null).ToList();
        await EachAsync(statements, async c =>
        {
            var state = c.MarketingConsent is true ? "granted" : "denied";
            if (await HasConsentAsync(api, ids[c.Number], ct))
                return;
            await api.PostAsync($"v1/customers/{ids[c.Number]}/consents", new { channel = "email", purpose = "marketing", state, source = "web_form", wording = "May we write to you about our gear?", at = c.ConsentAt }, $"demo-consent-{c.Number}", ct);
        });
        progress.Step("consents", $"{statements.Count}");

        await EachAsync(company.Orders, o => RecordOrderAsync(api, o, ids[o.Customer], day, ct));
        progress.Step("orders", $"{company.Orders.Count}, with invoices and payments");

        await EachAsync(company.Interactions, i => api.PutAsync($"v1/interactions/by-external-id/{Source}/{i.Number}", i.Body(ids[i.Customer]), ct));
        progress.Step("interactions", $"{company.Interactions.Count}");

        // Cases, segment and campaign have no external id: they are made with the first run only.
        if (first is null || await IsEmptyAsync(api, "v1/segments?limit=100", "Silent buyers (sample)", ct))
        {
            await EachAsync(company.Cases, c => OpenCaseAsync(api, c, ids[c.Customer], ct));
            progress.Step("cases", $"{company.Cases.Count}");
            await RunCampaignAsync(api, progress, ct);
        }

        PrintCalls(installation, ids[1], ids[company.Cases[0].Customer]);
        return 0;
    }

    private static async Task RecordOrderAsync(ApiClient api, SampleOrder order, string customer, DateTimeOffset day, CancellationToken ct)
    {
        var body = JsonSerializer.SerializeToNode(order.Body, ApiClient.Json)!.AsObject();
        body["customer_id"] = customer;
        var recorded = await api.PutAsync($"v1/orders/by-external-id/{Source}/{order.Number}", body, ct);
        if (!order.Completed)
            return;

        var total = new { amount_minor = order.Total, currency = order.Currency };
        var due = order.PlacedAt.AddDays(14);
        // One in nine has not paid; where the day has passed, that is overdue.
        var paid = order.Number % 9 != 0;
        var invoice = await api.PutAsync(
            $"v1/invoices/by-external-id/{Source}/{order.Number}",
            new { customer_id = customer, order_id = recorded.GetProperty("id").GetString(), number = $"R-{order.Number:D4}", issued_at = order.PlacedAt, due_at = due, total, status = paid ? "paid" : "open" },
            ct);
        if (paid)
        {
            var at = order.PlacedAt.AddDays(order.Number % 12);
            await api.PutAsync(
                $"v1/payments/by-external-id/{Source}/{order.Number}",
                new { customer_id = customer, invoice_id = invoice.GetProperty("id").GetString(), paid_at = at > day ? order.PlacedAt : at, amount = total, method = order.Number % 3 == 0 ? "transfer" : "card", status = "succeeded" },
                ct);
        }
    }

    private static async Task OpenCaseAsync(ApiClient api, SampleCase sample, string customer, CancellationToken ct)
    {
        var opened = await api.PostAsync("v1/cases", sample.Body(customer), $"demo-case-{sample.Number}", ct);
        var id = opened.GetProperty("id").GetString();
        if (sample.Answer is not null)
            await api.PostAsync($"v1/cases/{id}/messages", new { direction = "outbound", body = sample.Answer }, $"demo-case-{sample.Number}-answer", ct);
        if (sample.Answer is not null && sample.Solved)
            await api.PostAsync($"v1/cases/{id}/solve", new { resolution = sample.Answer }, $"demo-case-{sample.Number}-solve", ct);
    }

    private static async Task RunCampaignAsync(ApiClient api, Progress progress, CancellationToken ct)
    {
        var segment = await api.PostAsync(
            "v1/segments",
            new
            {
                name = "Silent buyers (sample)",
                definition = new { all = new object[] { new Dictionary<string, object> { ["fact"] = "orders.count", ["gte"] = 2 }, new Dictionary<string, object> { ["fact"] = "orders.days_since_last", ["gt"] = 90 } } },
            },
            "demo-segment",
            ct);
        await WaitForFactsAsync(api, segment.GetProperty("id").GetString()!, ct);
        var campaign = await api.PostAsync(
            "v1/campaigns",
            new
            {
                name = "Come back (sample)",
                segment_id = segment.GetProperty("id").GetString(),
                channel = "email",
                template = new
                {
                    subject = "{{given_name}}, the hills are waiting",
                    text = "Dear {{given_name}},\n\nit has been a while. Your next tent pegs are on us.\n\nField & Fell",
                    html = "<p>Dear {{given_name}},</p><p>it has been a while. Your next tent pegs are on us.</p><p>Field &amp; Fell</p>",
                },
            },
            "demo-campaign",
            ct);
        var id = campaign.GetProperty("id").GetString();
        await api.PostAsync($"v1/campaigns/{id}/launch", new { }, "demo-campaign-launch", ct);
        for (var i = 0; i < 60; i++)
        {
            var results = await api.GetAsync($"v1/campaigns/{id}", ct);
            if (results.GetProperty("status").GetString() == "completed")
                break;
            await Task.Delay(500, ct);
        }

        progress.Step("campaign", $"{id} sent; results: GET /v1/campaigns/{id}/results");
    }

    /// <summary>Facts come by events, a moment after the calls: the segment is whole when its count no longer moves.</summary>
    private static async Task WaitForFactsAsync(ApiClient api, string segment, CancellationToken ct)
    {
        var (last, same) = (-1L, 0);
        for (var i = 0; i < 60 && same < 3; i++)
        {
            await Task.Delay(500, ct);
            var count = (await api.GetAsync($"v1/segments/{segment}", ct)).GetProperty("count").GetInt64();
            same = count == last && count > 0 ? same + 1 : 0;
            last = count;
        }
    }

    private static async Task<bool> HasConsentAsync(ApiClient api, string customer, CancellationToken ct)
    {
        var consents = await api.GetAsync($"v1/customers/{customer}/consents", ct);
        return consents.GetProperty("history").GetArrayLength() > 0;
    }

    private static async Task<bool> IsEmptyAsync(ApiClient api, string path, string name, CancellationToken ct)
    {
        var list = await api.GetAsync(path, ct);
        return list.GetProperty("data").EnumerateArray().All(s => s.GetProperty("name").GetString() != name);
    }

    private static Task EachAsync<T>(IEnumerable<T> items, Func<T, Task> call) =>
        Parallel.ForEachAsync(items, new ParallelOptions { MaxDegreeOfParallelism = 8 }, async (item, _) => await call(item));

    private static void PrintCalls(Installation installation, string customer, string complaining) => Console.WriteLine($$"""

        Look at it:
          cd {{installation.Root}} && . .run/credentials.env
          crm() { curl -s -H "Authorization: Bearer $CRM_PARTNER_KEY" "$CRM_URL/v1/$1"; echo; }

          crm "customers?q=schm"                         # search: name prefix, with a typo, e-mail, telephone
          crm "customers/{{customer}}/overview"
          crm "customers/{{customer}}/timeline?limit=10"
          crm "customers/{{customer}}/account"
          crm "customers/{{complaining}}/consents"
          crm "cases?queue=returns&status=open"
          crm "segments"
          crm "campaigns"                                # then: campaigns/<id>/results
          ls {{Path.Combine(installation.Folder, "mail")}}
        """);
}

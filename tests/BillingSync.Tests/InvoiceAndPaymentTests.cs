using System.Net;
using System.Text.Json.Nodes;

namespace BillingSync.Tests;

public sealed class InvoiceAndPaymentTests(BillingFixture fixture)
{
    private readonly HttpClient _billing = fixture.Billing;

    [Fact]
    public async Task An_order_its_invoice_and_its_payment_hang_together_and_are_told()
    {
        var customer = await fixture.CreateCustomerAsync();
        var order = (string)(await _billing.PutAsync(Http.NewPath("orders"), OrderTests.Order(customer)))["id"]!;
        var invoicePath = Http.NewPath("invoices");
        var invoice = await _billing.PutAsync(invoicePath, Invoice(customer, order: order, due: "1997-07-01T00:00:00Z"));
        var paymentPath = Http.NewPath("payments");
        var payment = await _billing.PutAsync(paymentPath, Payment(customer, invoice: (string)invoice["id"]!));

        Assert.Equal("unchanged", (string?)(await _billing.PutAsync(invoicePath, Invoice(customer, order: order, due: "1997-07-01T00:00:00Z"), HttpStatusCode.OK))["result"]);
        Assert.Equal("updated", (string?)(await _billing.PutAsync(invoicePath, Invoice(customer, order: order, status: "paid"), HttpStatusCode.OK))["result"]);
        Assert.Equal("unchanged", (string?)(await _billing.PutAsync(paymentPath, Payment(customer, invoice: (string)invoice["id"]!), HttpStatusCode.OK))["result"]);

        var invoices = await fixture.EventsOfAsync((string)invoice["id"]!, expected: 2);
        Assert.Equal([1L, 2L], invoices.Select(e => (long)e["version"]!));
        Assert.Equal(order, (string?)invoices[0]["orderId"]);
        Assert.Equal("R-17", (string?)invoices[0]["number"]);
        Assert.Null(invoices[1]["dueAt"]);
        var told = Assert.Single(await fixture.EventsOfAsync((string)payment["id"]!, expected: 1));
        Assert.Equal((string?)invoice["id"], (string?)told["invoiceId"]);
        Assert.Equal("card", (string?)told["method"]);

        Assert.Equal((string?)payment["id"], (string?)(await _billing.GetJsonAsync(paymentPath))["id"]);
        Assert.Equal(2, (long)(await _billing.GetJsonAsync($"/v1/invoices/{(string)invoice["id"]!}"))["version"]!);
        Assert.Single((await _billing.GetJsonAsync($"/v1/payments?customer_id={customer}&status=succeeded"))["data"]!.AsArray());
    }

    [Fact]
    public async Task A_reference_must_exist_and_be_the_same_customers()
    {
        var (customer, other) = (await fixture.CreateCustomerAsync(), await fixture.CreateCustomerAsync());
        var order = (string)(await _billing.PutAsync(Http.NewPath("orders"), OrderTests.Order(other)))["id"]!;
        var invoice = (string)(await _billing.PutAsync(Http.NewPath("invoices"), Invoice(other)))["id"]!;

        foreach (var (method, invoices, payments) in new[] { (HttpMethod.Put, Http.NewPath("invoices"), Http.NewPath("payments")), (HttpMethod.Post, "/v1/invoices", "/v1/payments") })
        {
            async Task RefusedAsync(string path, string body, string pointer, string code, string error) =>
                Http.HasError(await _billing.SendJsonAsync(method, path, body, HttpStatusCode.UnprocessableEntity), code, pointer, error);

            await RefusedAsync(invoices, Invoice(customer, order: "ord_00000000000000000000000000"), "/order_id", "unknown_reference", "unknown_reference");
            await RefusedAsync(invoices, Invoice(customer, order: order), "/order_id", "unprocessable", "wrong_customer");
            await RefusedAsync(payments, Payment(customer, invoice: "inv_00000000000000000000000000"), "/invoice_id", "unknown_reference", "unknown_reference");
            await RefusedAsync(payments, Payment(customer, invoice: invoice), "/invoice_id", "unprocessable", "wrong_customer");
        }

        Http.HasError(await _billing.PutAsync(Http.NewPath("invoices"), Invoice(customer, order: "cus_00000000000000000000000000"), HttpStatusCode.BadRequest), "validation_failed", "/order_id", "wrong_format");
        Assert.Empty((await _billing.GetJsonAsync($"/v1/invoices?customer_id={customer}"))["data"]!.AsArray());
        Assert.Empty((await _billing.GetJsonAsync($"/v1/payments?customer_id={customer}"))["data"]!.AsArray());
    }

    [Fact]
    public async Task A_refused_reference_under_an_idempotency_key_is_explained_and_may_be_sent_again()
    {
        var customer = await fixture.CreateCustomerAsync();
        var key = Guid.NewGuid().ToString();
        async Task<HttpResponseMessage> PostAsync(string body)
        {
            var request = new HttpRequestMessage(HttpMethod.Post, "/v1/invoices") { Content = Http.Json(body) };
            request.Headers.Add("Idempotency-Key", key);
            return await _billing.SendAsync(request, TestContext.Current.CancellationToken);
        }

        using var refused = await PostAsync(Invoice(customer, order: "ord_00000000000000000000000000"));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, refused.StatusCode);
        Http.HasError(await refused.BodyAsync(), "unknown_reference", "/order_id");
        using var accepted = await PostAsync(Invoice(customer));
        Assert.Equal(HttpStatusCode.Created, accepted.StatusCode);
    }

    [Fact]
    public async Task An_order_moves_to_another_customer_only_while_nothing_hangs_on_it()
    {
        var (customer, other) = (await fixture.CreateCustomerAsync(), await fixture.CreateCustomerAsync());
        var path = Http.NewPath("orders");
        var order = (string)(await _billing.PutAsync(path, OrderTests.Order(customer)))["id"]!;
        await _billing.PutAsync(path, OrderTests.Order(other), HttpStatusCode.OK);
        await _billing.PutAsync(path, OrderTests.Order(customer), HttpStatusCode.OK);
        await _billing.PutAsync(Http.NewPath("invoices"), Invoice(customer, order: order));

        var problem = await _billing.PutAsync(path, OrderTests.Order(other), HttpStatusCode.Conflict);
        Http.HasError(problem, "conflict", "/customer_id");
        Assert.Equal(customer, (string?)(await _billing.GetJsonAsync(path))["customer_id"]);
    }

    [Theory]
    [InlineData("invoices", """{"number":""}""", "/number", "required")]
    [InlineData("invoices", """{"number":"a\r\nSet-Cookie: x"}""", "/number", "bad_text")]
    [InlineData("invoices", """{"issued_at":null}""", "/issued_at", "required")]
    [InlineData("invoices", """{"status":"overdue"}""", "/status", "wrong_type")]
    [InlineData("invoices", """{"total":{"amount_minor":-1,"currency":"USD"}}""", "/total/amount_minor", "out_of_range")]
    [InlineData("payments", """{"amount":{"amount_minor":-1,"currency":"USD"}}""", "/amount/amount_minor", "out_of_range")]
    [InlineData("payments", """{"method":null}""", "/method", "required")]
    [InlineData("payments", """{"paid_at":"yesterday"}""", "/paid_at", "wrong_type")]
    [InlineData("payments", """{"status":"done"}""", "/status", "wrong_type")]
    public async Task What_is_not_valid_is_refused_at_its_field(string resource, string change, string pointer, string code)
    {
        var customer = await fixture.CreateCustomerAsync();
        var body = JsonNode.Parse(resource == "invoices" ? Invoice(customer) : Payment(customer))!.AsObject();
        foreach (var (name, value) in JsonNode.Parse(change)!.AsObject())
        {
            body[name] = value?.DeepClone();
        }

        Http.HasError(await _billing.PutAsync(Http.NewPath(resource), body.ToJsonString(), HttpStatusCode.BadRequest), "validation_failed", pointer, code);
    }

    [Fact]
    public async Task Overdue_is_found_though_it_is_no_stored_status()
    {
        var customer = await fixture.CreateCustomerAsync();
        var late = await _billing.PutAsync(Http.NewPath("invoices"), Invoice(customer, due: "1997-07-01T00:00:00Z"));
        await _billing.PutAsync(Http.NewPath("invoices"), Invoice(customer, due: "2999-07-01T00:00:00Z"));
        await _billing.PutAsync(Http.NewPath("invoices"), Invoice(customer));
        await _billing.PutAsync(Http.NewPath("invoices"), Invoice(customer, due: "1997-07-01T00:00:00Z", status: "paid"));
        var overdue = await _billing.GetJsonAsync($"/v1/invoices?customer_id={customer}&status=overdue");
        Assert.Equal((string?)late["id"], (string?)Assert.Single(overdue["data"]!.AsArray())!["id"]);
        Assert.Equal("open", (string?)overdue["data"]![0]!["status"]);
    }

    internal static string Invoice(
        string customer, long total = 2390, string status = "open", string? order = null, string? due = null, string issued = "1997-06-01T00:00:00Z", string currency = "USD") =>
        $$$"""
        {"customer_id":"{{{customer}}}","order_id":{{{Text(order)}}},"number":"R-17","issued_at":"{{{issued}}}","due_at":{{{Text(due)}}},
         "total":{"amount_minor":{{{total}}},"currency":"{{{currency}}}"},"status":"{{{status}}}"}
        """;

    internal static string Payment(string customer, long amount = 2390, string status = "succeeded", string? invoice = null, string currency = "USD") =>
        $$$"""
        {"customer_id":"{{{customer}}}","invoice_id":{{{Text(invoice)}}},"paid_at":"1997-06-02T00:00:00Z",
         "amount":{"amount_minor":{{{amount}}},"currency":"{{{currency}}}"},"method":"card","status":"{{{status}}}"}
        """;

    private static string Text(string? text) => text is null ? "null" : $"\"{text}\"";
}

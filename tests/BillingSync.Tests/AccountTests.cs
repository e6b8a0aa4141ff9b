using System.Net;
using System.Text.Json.Nodes;

namespace BillingSync.Tests;

public sealed class AccountTests(BillingFixture fixture)
{
    private const string Past = "1997-07-01T00:00:00Z";
    private const string Future = "2999-07-01T00:00:00Z";
    private readonly HttpClient _billing = fixture.Billing;

    [Fact]
    public async Task A_customer_without_records_has_an_empty_account()
    {
        var account = await AccountAsync(await fixture.CreateCustomerAsync());
        Assert.Equal(0, (long)account["orders"]!);
        Assert.Empty(account["by_currency"]!.AsArray());
        foreach (var name in new[] { "balance", "overdue", "revenue", "first_purchase_at", "last_purchase_at" })
        {
            Assert.True(account.AsObject().ContainsKey(name));
            Assert.Null(account[name]);
        }
    }

    [Theory]
    [InlineData("cus_00000000000000000000000000")]
    [InlineData("ord_00000000000000000000000000")]
    [InlineData("1")]
    public async Task An_unknown_customer_has_no_account(string id) =>
        Assert.Equal("not_found", (string?)(await _billing.GetJsonAsync($"/v1/customers/{id}/account", HttpStatusCode.NotFound))["code"]);

    [Fact]
    public async Task Orders_are_counted_summed_and_dated()
    {
        var customer = await fixture.CreateCustomerAsync();
        await OrderAsync(customer, 1000, "completed", "1997-02-01T00:00:00Z");
        await OrderAsync(customer, 500, "completed", "1997-03-01T00:00:00Z");
        await OrderAsync(customer, 0, "completed", "1997-03-02T00:00:00Z");
        await OrderAsync(customer, 70, "pending", "1997-04-01T00:00:00Z");
        await OrderAsync(customer, 30, "returned", "1997-01-15T00:00:00Z");
        await OrderAsync(customer, 9000, "cancelled", "1997-01-01T00:00:00Z");
        await OrderAsync(customer, 9000, "cancelled", "1999-01-01T00:00:00Z");
        var account = await AccountAsync(customer);
        Assert.Equal(5, (long)account["orders"]!);
        Assert.Equal("""{"amount_minor":1500,"currency":"USD"}""", account["revenue"]!.ToJsonString());
        Assert.Equal("""{"amount_minor":0,"currency":"USD"}""", account["balance"]!.ToJsonString());
        Assert.Equal("1997-01-15T00:00:00Z", (string?)account["first_purchase_at"]);
        Assert.Equal("1997-04-01T00:00:00Z", (string?)account["last_purchase_at"]);
    }

    [Fact]
    public async Task A_paid_invoice_leaves_nothing_and_an_unpaid_one_is_overdue_when_its_day_has_passed()
    {
        var customer = await fixture.CreateCustomerAsync();
        var first = await InvoiceAsync(customer, 1000, due: Past);
        await ExpectAsync(customer, balance: 1000, overdue: 1000);
        await PaymentAsync(customer, 400, invoice: first);
        await ExpectAsync(customer, balance: 600, overdue: 600);
        await PaymentAsync(customer, 600, invoice: first);
        await ExpectAsync(customer, balance: 0, overdue: 0);
        await InvoiceAsync(customer, 500, due: Future);
        await InvoiceAsync(customer, 300);
        await ExpectAsync(customer, balance: 800, overdue: 0);
    }

    [Fact]
    public async Task Only_succeeded_payments_and_invoices_that_are_not_void_count()
    {
        var customer = await fixture.CreateCustomerAsync();
        var invoice = await InvoiceAsync(customer, 1000, due: Past);
        await InvoiceAsync(customer, 7000, status: "void", due: Past);
        await PaymentAsync(customer, 1000, "pending", invoice);
        await PaymentAsync(customer, 1000, "failed", invoice);
        await PaymentAsync(customer, 1000, "failed");
        await ExpectAsync(customer, balance: 1000, overdue: 1000);
    }

    [Fact]
    public async Task A_payment_that_names_no_invoice_goes_to_the_oldest()
    {
        var customer = await fixture.CreateCustomerAsync();
        await InvoiceAsync(customer, 700, due: Past, issued: "1997-05-01T00:00:00Z");
        await InvoiceAsync(customer, 1000, due: Future, issued: "1997-01-01T00:00:00Z");
        await PaymentAsync(customer, 1200);
        await ExpectAsync(customer, balance: 500, overdue: 500);
        await PaymentAsync(customer, 800);
        await ExpectAsync(customer, balance: -300, overdue: 0);
    }

    [Fact]
    public async Task What_is_paid_too_much_or_for_a_void_invoice_is_free_for_the_others()
    {
        var customer = await fixture.CreateCustomerAsync();
        var paid = await InvoiceAsync(customer, 100, due: Past);
        var voided = await InvoiceAsync(customer, 100, status: "void", due: Past);
        await InvoiceAsync(customer, 100, due: Past);
        await PaymentAsync(customer, 130, invoice: paid);
        await PaymentAsync(customer, 50, invoice: voided);
        await ExpectAsync(customer, balance: 20, overdue: 20);
    }

    [Fact]
    public async Task A_refund_credits_its_invoice_and_is_never_counted_twice()
    {
        var customer = await fixture.CreateCustomerAsync();
        var invoice = await InvoiceAsync(customer, 1000, due: Past);
        var path = Http.NewPath("payments");
        await _billing.PutAsync(path, InvoiceAndPaymentTests.Payment(customer, 1000, "succeeded", invoice));
        await ExpectAsync(customer, balance: 0, overdue: 0);
        await _billing.PutAsync(path, InvoiceAndPaymentTests.Payment(customer, 1000, "refunded", invoice), HttpStatusCode.OK);
        await ExpectAsync(customer, balance: 0, overdue: 0, credits: 1000);

        // Paid twice, once given back: nothing is owed either way.
        await PaymentAsync(customer, 1000, invoice: invoice);
        await ExpectAsync(customer, balance: 0, overdue: 0, credits: 0);

        // Given back what had been paid for nothing, or for an invoice that is void: nothing is owed either way.
        await PaymentAsync(customer, 5000, "refunded");
        await PaymentAsync(customer, 80, "refunded", await InvoiceAsync(customer, 80, status: "void"));
        await ExpectAsync(customer, balance: 0, overdue: 0, credits: 0);
    }

    [Fact]
    public async Task An_invoice_that_its_source_calls_paid_is_not_asked_for_again()
    {
        var customer = await fixture.CreateCustomerAsync();
        await InvoiceAsync(customer, 1000, status: "paid", due: Past);
        await ExpectAsync(customer, balance: 0, overdue: 0, credits: 1000);
        await InvoiceAsync(customer, 500, due: Past, issued: "1990-01-01T00:00:00Z");
        await PaymentAsync(customer, 1000);
        await ExpectAsync(customer, balance: 500, overdue: 500, credits: 0);
    }

    [Fact]
    public async Task Currencies_are_never_added_up()
    {
        var customer = await fixture.CreateCustomerAsync();
        await OrderAsync(customer, 100, "completed", Past);
        await OrderAsync(customer, 30, "completed", Past, "EUR");
        var dollars = await InvoiceAsync(customer, 100, due: Past);
        await InvoiceAsync(customer, 30, due: Past, currency: "EUR");
        await PaymentAsync(customer, 20, invoice: dollars, currency: "EUR");
        var account = await AccountAsync(customer);
        Assert.Null(account["balance"]);
        Assert.Null(account["overdue"]);
        Assert.Null(account["revenue"]);
        Assert.Equal(2, (long)account["orders"]!);
        Assert.Equal(
            """[{"currency":"EUR","balance":10,"overdue":10,"revenue":30,"issued":30,"paid":20,"credits":0},{"currency":"USD","balance":100,"overdue":100,"revenue":100,"issued":100,"paid":0,"credits":0}]""",
            account["by_currency"]!.ToJsonString());
    }

    /// <summary>The statement against the plain arithmetic of the rules, on seeded random records.</summary>
    [Fact]
    public async Task Random_records_add_up_as_the_rules_say()
    {
        var random = new Random(20261121);
        for (var round = 0; round < 12; round++)
        {
            var customer = await fixture.CreateCustomerAsync();
            var invoices = new List<(string Id, long Total, string Status, bool Late, string Issued)>();
            var payments = new List<(string? Invoice, long Amount, string Status)>();
            for (var i = random.Next(1, 7); i > 0; i--)
            {
                var (total, status, late) = ((long)random.Next(0, 10), Pick("open", "open", "paid", "void"), random.Next(2) == 0);
                var issued = $"1997-01-{random.Next(10, 29)}T00:00:00Z";
                invoices.Add((await InvoiceAsync(customer, total, status, late ? Past : Future, issued), total, status, late, issued));
            }

            for (var i = random.Next(0, 8); i > 0; i--)
            {
                var invoice = random.Next(3) == 0 ? null : invoices[random.Next(invoices.Count)].Id;
                var (amount, status) = ((long)random.Next(0, 12), Pick("succeeded", "succeeded", "refunded", "failed", "pending"));
                await PaymentAsync(customer, amount, status, invoice);
                payments.Add((invoice, amount, status));
            }

            long Sum(string? invoice, string status) => payments.Where(p => p.Invoice == invoice && p.Status == status).Sum(p => p.Amount);
            var open = invoices.Where(i => i.Status != "void").OrderBy(i => i.Issued, StringComparer.Ordinal).ThenBy(i => i.Id, StringComparer.Ordinal)
                .Select(i => (i.Status, i.Late, Unpaid: Math.Max(0, i.Total - Sum(i.Id, "succeeded") - Sum(i.Id, "refunded")), Own: Math.Min(i.Total, Sum(i.Id, "succeeded"))))
                .ToList();
            var free = payments.Where(p => p.Status == "succeeded").Sum(p => p.Amount) - open.Sum(i => i.Own);
            free = Math.Max(0, free - open.Where(i => i.Status == "paid").Sum(i => i.Unpaid));
            long balance = 0, overdue = 0;
            foreach (var (_, late, rest, _) in open.Where(i => i.Status == "open"))
            {
                var left = Math.Max(0, rest - free);
                free -= rest - left;
                balance += left;
                overdue += late ? left : 0;
            }

            await ExpectAsync(customer, balance - free, overdue);
        }

        string Pick(params string[] words) => words[random.Next(words.Length)];
    }

    private Task<JsonNode> AccountAsync(string customer) => _billing.GetJsonAsync($"/v1/customers/{customer}/account");

    private async Task ExpectAsync(string customer, long balance, long overdue, long? credits = null)
    {
        var account = await AccountAsync(customer);
        Assert.True(balance == (long)account["balance"]!["amount_minor"]! && overdue == (long)account["overdue"]!["amount_minor"]!, $"Expected {balance}, {overdue}: {account}");
        var currency = account["by_currency"]![0]!;
        Assert.Equal(balance, (long)currency["balance"]!);
        Assert.Equal(balance, (long)currency["issued"]! - (long)currency["paid"]! - (long)currency["credits"]!);
        if (credits is not null)
        {
            Assert.Equal(credits, (long)currency["credits"]!);
        }
    }

    private async Task OrderAsync(string customer, long total, string status, string placedAt, string currency = "USD") =>
        await _billing.PutAsync(Http.NewPath("orders"), OrderTests.Order(customer, total, status, currency, placedAt));

    private async Task<string> InvoiceAsync(
        string customer, long total, string status = "open", string? due = null, string issued = "1997-06-01T00:00:00Z", string currency = "USD") =>
        (string)(await _billing.PutAsync(Http.NewPath("invoices"), InvoiceAndPaymentTests.Invoice(customer, total, status, due: due, issued: issued, currency: currency)))["id"]!;

    private async Task PaymentAsync(string customer, long amount, string status = "succeeded", string? invoice = null, string currency = "USD") =>
        await _billing.PutAsync(Http.NewPath("payments"), InvoiceAndPaymentTests.Payment(customer, amount, status, invoice, currency));
}

using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;

namespace Crm.Runner.Cdnow;

/// <summary>
/// Puts the purchase log through the public API, as a partner would: every write can be sent again, so a
/// call that got no answer, or a 5xx or 429, is sent again until it is answered.
/// </summary>
public sealed class CdnowLoad(HttpClient client, int concurrency = 8)
{
    public const string Source = "cdnow";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    private long _rows;
    private long _repeated;

    /// <summary>Rows acknowledged so far: customers, consents, orders, invoices and payments.</summary>
    public long Rows => Interlocked.Read(ref _rows);

    /// <summary>Calls that had to be sent again.</summary>
    public long Repeated => Interlocked.Read(ref _repeated);

    /// <summary>Rows that <paramref name="customers"/> come to.</summary>
    public static long RowsOf(IEnumerable<CdnowCustomer> customers) =>
        customers.Sum(c => 2L + (2 * c.Purchases.Count) + c.Purchases.Count(p => p.AmountMinor > 0));

    /// <param name="done">Called with each customer whose rows are all acknowledged.</param>
    public Task RunAsync(IEnumerable<CdnowCustomer> customers, Action<CdnowCustomer>? done = null, CancellationToken ct = default) =>
        Parallel.ForEachAsync(customers, new ParallelOptions { MaxDegreeOfParallelism = concurrency, CancellationToken = ct }, async (customer, token) =>
        {
            await LoadAsync(customer, token);
            done?.Invoke(customer);
        });

    private async Task LoadAsync(CdnowCustomer customer, CancellationToken ct)
    {
        var id = (await SendAsync(HttpMethod.Put, $"v1/customers/by-external-id/{Source}/{customer.Id}", new
        {
            kind = "person",
            given_name = customer.GivenName,
            family_name = customer.FamilyName,
            emails = new[] { new { address = customer.Email, type = "home", primary = true } },
            addresses = new[] { new { lines = customer.AddressLines, city = customer.City, postal_code = customer.PostalCode, country = "AU", type = "home", primary = true } },
            birth_date = customer.BirthDate,
            locale = "en-AU",
            source = new { type = "import", detail = "CDNOW sample" },
            lifecycle = "active_buyer",
        }, ct)).GetProperty("id").GetString()!;

        await SendAsync(HttpMethod.Post, $"v1/customers/{id}/consents", new
        {
            channel = "email",
            purpose = "marketing",
            state = "granted",
            legal_basis = "consent",
            source = "CDNOW sample",
            at = Instant(customer.Purchases[0].Day),
        }, ct, idempotencyKey: $"{Source}-consent-{customer.Id}");

        foreach (var purchase in customer.Purchases)
        {
            var total = new { amount_minor = purchase.AmountMinor, currency = "USD" };
            var line = purchase.Line.ToString(CultureInfo.InvariantCulture);
            var order = await SendAsync(HttpMethod.Put, $"v1/orders/by-external-id/{Source}/{line}", new
            {
                customer_id = id,
                placed_at = Instant(purchase.Day),
                lines = new[] { new { sku = "CD", quantity = purchase.Discs } },
                total,
                status = "completed",
            }, ct);
            var invoice = await SendAsync(HttpMethod.Put, $"v1/invoices/by-external-id/{Source}/{line}", new
            {
                customer_id = id,
                order_id = order.GetProperty("id").GetString(),
                number = $"CD-{line}",
                issued_at = Instant(purchase.Day),
                due_at = Instant(purchase.Day.AddDays(30)),
                total,
                status = "paid",
            }, ct);
            if (purchase.AmountMinor > 0)
            {
                await SendAsync(HttpMethod.Put, $"v1/payments/by-external-id/{Source}/{line}", new
                {
                    customer_id = id,
                    invoice_id = invoice.GetProperty("id").GetString(),
                    paid_at = Instant(purchase.Day),
                    amount = total,
                    method = "card",
                    status = "succeeded",
                }, ct);
            }
        }
    }

    /// <summary>The log has days only; noon keeps the day in every time zone of the Americas and Europe.</summary>
    private static string Instant(DateOnly day) => day.ToString("yyyy-MM-dd'T12:00:00Z'", CultureInfo.InvariantCulture);

    private async Task<JsonElement> SendAsync(HttpMethod method, string path, object body, CancellationToken ct, string? idempotencyKey = null)
    {
        var start = System.Diagnostics.Stopwatch.GetTimestamp();
        for (var pause = TimeSpan.FromMilliseconds(100); ; pause = pause * 2 < TimeSpan.FromSeconds(2) ? pause * 2 : TimeSpan.FromSeconds(2))
        {
            string trouble;
            try
            {
                using var request = new HttpRequestMessage(method, path) { Content = JsonContent.Create(body) };
                if (idempotencyKey is not null)
                    request.Headers.Add("Idempotency-Key", idempotencyKey);
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
                limit.CancelAfter(TimeSpan.FromSeconds(30));
                using var response = await client.SendAsync(request, limit.Token);
                var text = await response.Content.ReadAsStringAsync(limit.Token);
                if (response.IsSuccessStatusCode)
                {
                    Interlocked.Increment(ref _rows);
                    return JsonDocument.Parse(text).RootElement;
                }

                if ((int)response.StatusCode < 500 && !text.Contains("\"retryable\":true", StringComparison.Ordinal) && response.StatusCode != HttpStatusCode.TooManyRequests)
                    throw new RunnerException($"{method} {path} answered {(int)response.StatusCode}: {text}", "");
                trouble = $"{(int)response.StatusCode}: {text}";
            }
            catch (Exception exception) when (exception is HttpRequestException or IOException || (exception is OperationCanceledException && !ct.IsCancellationRequested))
            {
                trouble = exception.Message;
            }

            Interlocked.Increment(ref _repeated);
            if (System.Diagnostics.Stopwatch.GetElapsedTime(start) > Patience)
                throw new RunnerException($"{method} {path} was sent again for {Patience.TotalMinutes:0} minutes without an answer ({trouble}).", "Is the platform up? ./crm status");
            await Task.Delay(pause, ct);
        }
    }
}

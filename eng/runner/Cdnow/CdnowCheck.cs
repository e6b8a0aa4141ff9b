using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using Npgsql;

namespace Crm.Runner.Cdnow;

/// <summary>
/// What must be equal after a load, whatever was killed meanwhile: accounts and timelines against the log,
/// every copy of identity against Contacts, the segment against the file, the mails against its members.
/// </summary>
public sealed class CdnowCheck(Platform platform, HttpClient client, IReadOnlyList<CdnowCustomer> customers)
{
    private static readonly string[] Copies = ["interactions", "campaigns", "billing-sync", "support"];

    private const string IdentityColumns =
        "id, version, kind, display_name, given_name, family_name, lifecycle, tier, department, locale, time_zone, attributes, state, survivor_id, created_at, updated_at";

    private static readonly DateOnly AsOf = new(1998, 6, 30);

    private Dictionary<string, CdnowCustomer> _byId = [];

    /// <summary>Members of the segment, computed straight from the file: two orders or more, more than 90 days since the last as of 1998-06-30.</summary>
    public IReadOnlyList<CdnowCustomer> ExpectedMembers =>
        [.. customers.Where(c => c.Purchases.Count >= 2 && AsOf.DayNumber - c.Purchases.Max(p => p.Day).DayNumber > 90)];

    /// <summary>Waits until no event is under way: outboxes and queues are empty, twice in a row.</summary>
    public async Task DrainAsync(TimeSpan limit, CancellationToken ct = default)
    {
        var start = Stopwatch.GetTimestamp();
        for (var quiet = 0; quiet < 2;)
        {
            var pending = await PendingAsync(ct);
            quiet = pending.Total == 0 ? quiet + 1 : 0;
            if (Stopwatch.GetElapsedTime(start) > limit)
                throw new RunnerException($"Events are still under way after {limit.TotalSeconds:0} s: {pending.Text}.", "Look at ./crm dead-letters and the logs.");
            await Task.Delay(300, ct);
        }
    }

    /// <summary>Every difference as a sentence; none when all holds.</summary>
    public async Task<IReadOnlyList<string>> CompareAsync(CancellationToken ct = default)
    {
        var differences = new List<string>();
        await FindCustomersAsync(differences, ct);
        await CompareAccountsAndTimelinesAsync(differences, ct);
        await CompareCopiesAsync(differences, ct);
        foreach (var service in platform.Services.Keys)
        {
            var dead = await ScalarAsync(service, "SELECT count(*) FROM dead_letter", ct);
            if (dead != 0)
                differences.Add($"{service} has {dead} dead letters.");
        }

        return differences;
    }

    /// <summary>The segment's members and count against the file; the segment's id.</summary>
    public async Task<string> CompareSegmentAsync(List<string> differences, CancellationToken ct = default)
    {
        var segment = await PostAsync("v1/segments", new
        {
            name = "Silent buyers",
            as_of = "1998-06-30",
            definition = new { all = new object[] { new { fact = "orders.count", gte = 2 }, new { fact = "orders.days_since_last", gt = 90 } } },
        }, ct);
        var id = segment.GetProperty("id").GetString()!;
        var expected = ExpectedMembers.Select(c => c.Id).ToHashSet();
        var found = new HashSet<string>();
        await foreach (var member in PagesAsync($"v1/segments/{id}/members?limit=100", ct))
        {
            var customer = member.TryGetProperty("customer_id", out var value) ? value : member.GetProperty("id");
            if (!_byId.TryGetValue(customer.GetString()!, out var known) || !found.Add(known.Id))
                differences.Add($"The segment has {customer}, who is not in the log, or twice.");
        }

        if (!found.SetEquals(expected))
            differences.Add($"The segment has {found.Count} members, {found.Except(expected).Count()} of them wrongly, and lacks {expected.Except(found).Count()} of {expected.Count}.");
        var count = (await GetAsync($"v1/segments/{id}", ct)).GetProperty("count").GetInt64();
        if (count != expected.Count)
            differences.Add($"The segment says {count} members; the file says {expected.Count}.");
        return id;
    }

    /// <summary>Launches a campaign by e-mail to the segment; its id.</summary>
    public async Task<string> LaunchCampaignAsync(string segmentId, CancellationToken ct = default)
    {
        var campaign = await PostAsync("v1/campaigns", new
        {
            name = "Come back",
            segment_id = segmentId,
            channel = "email",
            template = new { subject = "We miss you, {{given_name}}", text = "Dear {{display_name}}, come back.", html = "<p>Dear {{display_name}}, come back.</p>" },
        }, ct);
        var id = campaign.GetProperty("id").GetString()!;
        await PostAsync($"v1/campaigns/{id}/launch", null, ct);
        return id;
    }

    /// <summary>Waits until nothing of the campaign is pending; its results.</summary>
    public async Task<JsonElement> WaitForCampaignAsync(string campaignId, TimeSpan limit, CancellationToken ct = default)
    {
        var start = Stopwatch.GetTimestamp();
        while (true)
        {
            var results = await GetAsync($"v1/campaigns/{campaignId}/results", ct);
            if (results.GetProperty("completed_at").ValueKind == JsonValueKind.String)
                return results;
            if (Stopwatch.GetElapsedTime(start) > limit)
                throw new RunnerException($"The campaign is not complete after {limit.TotalSeconds:0} s: {results}.", "");
            await Task.Delay(500, ct);
        }
    }

    /// <summary>sent + suppressed + failed + uncertain = members, no address twice, every sent one delivered.</summary>
    /// <param name="strict">Nothing was killed: every member got exactly one mail.</param>
    public void CompareMails(JsonElement results, IReadOnlyList<string> recipients, bool strict, List<string> differences)
    {
        var members = results.GetProperty("members").GetInt64();
        var sent = results.GetProperty("sent").GetInt64();
        var uncertain = results.GetProperty("uncertain").GetInt64();
        var sum = sent + uncertain + results.GetProperty("suppressed").GetInt64() + results.GetProperty("failed").GetInt64();
        if (members != ExpectedMembers.Count || sum != members)
            differences.Add($"The campaign has {members} members and {sum} outcomes; the file says {ExpectedMembers.Count}.");
        var twice = recipients.Count - recipients.Distinct(StringComparer.OrdinalIgnoreCase).Count();
        if (twice != 0)
            differences.Add($"{twice} mails are a second one to the same address.");
        if (strict ? recipients.Count != members : recipients.Count < sent || recipients.Count > sent + uncertain)
            differences.Add($"{recipients.Count} mails were delivered; sent {sent}, uncertain {uncertain} of {members}.");
        var strangers = recipients.Except(ExpectedMembers.Select(m => m.Email), StringComparer.OrdinalIgnoreCase).Count();
        if (strangers != 0)
            differences.Add($"{strangers} mails went to somebody who is not a member.");
    }

    /// <summary>Presses the unsubscribe link of every mail, as mailbox providers do (RFC 8058); again where no answer came.</summary>
    public async Task PressLinksAsync(IReadOnlyCollection<SmtpMail> mails, CancellationToken ct = default)
    {
        using var nobody = platform.CreateClient(null);
        await Parallel.ForEachAsync(mails, new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = ct }, async (mail, token) =>
        {
            var link = new Uri(mail.Header("List-Unsubscribe")!.Trim('<', '>'));
            for (var attempt = 1; ; attempt++)
            {
                try
                {
                    using var oneClick = new FormUrlEncodedContent([new("List-Unsubscribe", "One-Click")]);
                    using var answer = await nobody.PostAsync(link, oneClick, token);
                    if (answer.IsSuccessStatusCode)
                        return;
                    if ((int)answer.StatusCode < 500 || attempt == 60)
                        throw new RunnerException($"An unsubscribe link answered {(int)answer.StatusCode}: {await answer.Content.ReadAsStringAsync(token)}", "");
                }
                catch (HttpRequestException) when (attempt < 60)
                {
                    // The gateway went away.
                }

                await Task.Delay(500, token);
            }
        });
    }

    /// <summary>Each link is one statement in the ledger, and known to every copy.</summary>
    public async Task CompareWithdrawalsAsync(int links, List<string> differences, CancellationToken ct = default)
    {
        var statements = await ScalarAsync("contacts", "SELECT count(*) FROM consents WHERE state = 'withdrawn'", ct);
        var people = await ScalarAsync("contacts", "SELECT count(DISTINCT customer_id) FROM consents WHERE state = 'withdrawn'", ct);
        if (people != links || statements != links)
            differences.Add($"{links} people unsubscribed; the ledger has {statements} withdrawals of {people}.");
        await CompareCopiesAsync(differences, ct);
    }

    private async Task FindCustomersAsync(List<string> differences, CancellationToken ct)
    {
        await using var contacts = NpgsqlDataSource.Create(await platform.ConnectionStringAsync("contacts"));
        var known = customers.ToDictionary(c => c.Id);
        var found = new Dictionary<string, CdnowCustomer>();
        await using var command = contacts.CreateCommand("SELECT external_id, customer_id FROM external_ids WHERE system = 'cdnow'");
        await using var reader = await command.ExecuteReaderAsync(ct);
        while (await reader.ReadAsync(ct))
        {
            if (known.TryGetValue(reader.GetString(0), out var customer))
                found.Add(PublicIds.Format("cus", reader.GetGuid(1)), customer);
            else
                differences.Add($"Contacts has cdnow:{reader.GetString(0)}, which was not loaded.");
        }

        if (found.Count != customers.Count)
            differences.Add($"Contacts has {found.Count} customers of the log; there are {customers.Count}.");
        if (await ScalarAsync("contacts", "SELECT count(*) FROM customers", ct) is var rows && rows != found.Count)
            differences.Add($"Contacts has {rows} rows for {found.Count} customers.");
        _byId = found;
    }

    private async Task CompareAccountsAndTimelinesAsync(List<string> differences, CancellationToken ct)
    {
        var found = new System.Collections.Concurrent.ConcurrentQueue<string>();
        await Parallel.ForEachAsync(_byId, new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = ct }, async (entry, token) =>
        {
            var (id, customer) = entry;
            var account = await GetAsync($"v1/customers/{id}/account", token);
            var orders = account.GetProperty("orders").GetInt64();
            var revenue = account.GetProperty("by_currency").EnumerateArray().Sum(c => c.GetProperty("revenue").GetInt64());
            var balance = account.GetProperty("by_currency").EnumerateArray().Sum(c => Math.Abs(c.GetProperty("balance").GetInt64()));
            var total = customer.Purchases.Sum(p => p.AmountMinor);
            if (orders != customer.Purchases.Count || revenue != total || balance != 0)
                found.Enqueue($"Customer {customer.Id} has {orders} orders of {revenue} cents, balance {balance}; the log says {customer.Purchases.Count} of {total}, all paid.");

            var entries = new List<string>();
            await foreach (var item in PagesAsync($"v1/customers/{id}/timeline?limit=100", token))
                entries.Add(item.GetProperty("type").GetString()!);
            var (o, i, p) = (entries.Count(e => e == "order"), entries.Count(e => e == "invoice"), entries.Count(e => e == "payment"));
            if (o != customer.Purchases.Count || i != o || p != customer.Purchases.Count(x => x.AmountMinor > 0))
                found.Enqueue($"The timeline of customer {customer.Id} has {o} orders, {i} invoices and {p} payments; the log says {customer.Purchases.Count}.");
        });
        differences.AddRange(found);
    }

    /// <summary>Every copy of customers and consents against Contacts.</summary>
    public async Task CompareCopiesAsync(List<string> differences, CancellationToken ct)
    {
        var truth = await RowsAsync("contacts", $"SELECT {IdentityColumns} FROM customers", ct);
        var consents = await RowsAsync("contacts", "SELECT customer_id, channel, purpose, state, version, at FROM consent_states", ct);
        foreach (var service in Copies.Where(platform.Services.ContainsKey))
        {
            Compare(service, "customers", truth, await RowsAsync(service, $"SELECT {IdentityColumns} FROM customers", ct));
            Compare(service, "consents", consents, await RowsAsync(service, "SELECT customer_id, channel, purpose, state, version, at FROM customer_consents", ct));
        }

        void Compare(string service, string what, HashSet<string> expected, HashSet<string> actual)
        {
            if (!expected.SetEquals(actual))
                differences.Add($"{service} lacks {expected.Except(actual).Count()} of {expected.Count} {what} as Contacts has them, and has {actual.Except(expected).Count()} that Contacts has not.");
        }
    }

    private async Task<(long Total, string Text)> PendingAsync(CancellationToken ct)
    {
        var parts = new List<string>();
        var total = 0L;
        foreach (var service in platform.Services.Keys)
        {
            var outbox = await ScalarAsync(service, "SELECT count(*) FROM outbox", ct);
            if (outbox > 0)
                parts.Add($"{service} outbox {outbox}");
            total += outbox;
        }

        if (platform.RabbitMq is { } rabbit)
        {
            foreach (var line in (await rabbit.ControlAsync(["list_queues", "-p", "crm", "--no-table-headers", "name", "messages"], ct)).Split('\n'))
            {
                if (line.Split('\t') is [var name, var messages] && long.TryParse(messages, out var count) && count > 0 && !name.EndsWith("_error", StringComparison.Ordinal))
                {
                    parts.Add($"{name} {count}");
                    total += count;
                }
            }
        }

        return (total, string.Join(", ", parts));
    }

    private async Task<long> ScalarAsync(string service, string sql, CancellationToken ct)
    {
        await using var connection = new NpgsqlConnection(await platform.ConnectionStringAsync(service));
        await connection.OpenAsync(ct);
        await using var command = new NpgsqlCommand(sql, connection);
        return (long)(await command.ExecuteScalarAsync(ct))!;
    }

    private async Task<HashSet<string>> RowsAsync(string service, string sql, CancellationToken ct)
    {
        await using var connection = new NpgsqlConnection(await platform.ConnectionStringAsync(service));
        await connection.OpenAsync(ct);
        await using var command = new NpgsqlCommand($"SELECT row_to_json(r)::text FROM ({sql}) AS r", connection);
        await using var reader = await command.ExecuteReaderAsync(ct);
        var rows = new HashSet<string>();
        while (await reader.ReadAsync(ct))
            rows.Add(reader.GetString(0));
        return rows;
    }

    private async IAsyncEnumerable<JsonElement> PagesAsync(string path, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken ct)
    {
        for (string? cursor = ""; cursor is not null;)
        {
            var page = await GetAsync(cursor.Length == 0 ? path : $"{path}&cursor={Uri.EscapeDataString(cursor)}", ct);
            foreach (var item in page.GetProperty("data").EnumerateArray())
                yield return item;
            cursor = page.GetProperty("next_cursor").GetString();
        }
    }

    private async Task<JsonElement> GetAsync(string path, CancellationToken ct)
    {
        for (var attempt = 1; ; attempt++)
        {
            using var response = await client.GetAsync(path, ct);
            var text = await response.Content.ReadAsStringAsync(ct);
            if (response.IsSuccessStatusCode)
                return JsonDocument.Parse(text).RootElement;
            if ((int)response.StatusCode < 500 || attempt == 20)
                throw new RunnerException($"GET {path} answered {(int)response.StatusCode}: {text}", "");
            await Task.Delay(500, ct);
        }
    }

    private async Task<JsonElement> PostAsync(string path, object? body, CancellationToken ct)
    {
        using var content = body is null ? null : JsonContent.Create(body);
        using var response = await client.PostAsync(path, content, ct);
        var text = await response.Content.ReadAsStringAsync(ct);
        return response.IsSuccessStatusCode
            ? JsonDocument.Parse(text).RootElement
            : throw new RunnerException($"POST {path} answered {(int)response.StatusCode}: {text}", "");
    }
}

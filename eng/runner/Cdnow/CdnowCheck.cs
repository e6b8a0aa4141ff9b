using System.Diagnostics;
using System.Text.Json;
using Npgsql;

namespace Crm.Runner.Cdnow;

/// <summary>
/// What must be equal after a load, whatever was killed meanwhile: accounts and timelines against the log,
/// every copy of identity against Contacts, the segment against the file, the mails against its members. Of customers
/// who are not of the log nothing is asked: there may be others.
/// </summary>
public sealed class CdnowCheck(Platform platform, ApiClient api, IReadOnlyList<CdnowCustomer> customers)
{
    private static readonly DateOnly AsOf = new(1998, 6, 30);

    private Dictionary<string, CdnowCustomer> _byId = [];

    /// <summary>Ids of the customers of the log, once they were compared.</summary>
    public Guid[] Ids => [.. _byId.Keys.Select(PublicIds.Parse)];

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

    /// <summary>Customers, accounts, timelines and copies; and what no service could handle.</summary>
    public async Task CompareAsync(Findings findings, CancellationToken ct = default)
    {
        await FindCustomersAsync(findings, ct);
        await CompareAccountsAndTimelinesAsync(findings, ct);
        await CompareCopiesAsync(findings, ct);
        foreach (var service in platform.Services.Keys)
        {
            var dead = await ScalarAsync(service, "SELECT count(*) FROM dead_letter", ct);
            if (dead != 0)
                findings.AddDifference($"{service} has {dead} dead letters.");
        }
    }

    /// <summary>
    /// A segment whose members and count are compared with the file, as soon as Campaigns has what they and the mails to
    /// them depend on; its id. What is not so when the patience ends is found.
    /// </summary>
    public async Task<string> MakeSegmentAsync(TimeSpan patience, Findings findings, CancellationToken ct = default)
    {
        var id = (await PostAsync("v1/segments", new
        {
            name = "Silent buyers",
            as_of = "1998-06-30",
            definition = new { all = new object[] { new { fact = "orders.count", gte = 2 }, new { fact = "orders.days_since_last", gt = 90 } } },
        }, ct)).GetProperty("id").GetString()!;
        var start = Stopwatch.GetTimestamp();
        while (true)
        {
            var (others, members) = (new Findings(), new List<string>());
            try
            {
                await FindCustomersAsync(others, ct);
                await CompareCopiesAsync(others, ct, "campaigns");
                members = await CompareMembersAsync(id, ct);
            }
            catch (NpgsqlException e)
            {
                // The database is being killed as well.
                others.AddDifference(e.Message);
            }

            if ((others.None && members.Count == 0) || Stopwatch.GetElapsedTime(start) > patience)
            {
                // Customers and copies are compared again when all is done.
                findings.AddDifferences(members);
                return id;
            }

            await Task.Delay(2000, ct);
        }
    }

    private async Task<List<string>> CompareMembersAsync(string segment, CancellationToken ct)
    {
        var differences = new List<string>();
        var expected = ExpectedMembers.Select(c => c.Id).ToHashSet();
        var found = new HashSet<string>();
        await foreach (var member in PagesAsync($"v1/segments/{segment}/members?limit=100", ct))
        {
            var customer = member.TryGetProperty("customer_id", out var value) ? value : member.GetProperty("id");
            if (!_byId.TryGetValue(customer.GetString()!, out var known) || !found.Add(known.Id))
                differences.Add($"The segment has {customer}, who is not in the log, or twice.");
        }

        if (!found.SetEquals(expected))
            differences.Add($"The segment has {found.Count} members, {found.Except(expected).Count()} of them wrongly, and lacks {expected.Except(found).Count()} of {expected.Count}.");
        var count = (await api.GetAsync($"v1/segments/{segment}", ct)).GetProperty("count").GetInt64();
        if (count != expected.Count)
            differences.Add($"The segment says {count} members; the file says {expected.Count}.");
        return differences;
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
            var results = await api.GetAsync($"v1/campaigns/{campaignId}/results", ct);
            if (results.GetProperty("completed_at").ValueKind == JsonValueKind.String)
                return results;
            if (Stopwatch.GetElapsedTime(start) > limit)
                throw new RunnerException($"The campaign is not complete after {limit.TotalSeconds:0} s: {results}.", "");
            await Task.Delay(500, ct);
        }
    }

    /// <summary>sent + failed + uncertain = members, nobody suppressed, no address twice, every sent one delivered.</summary>
    /// <param name="strict">Nothing was killed: every member got exactly one mail.</param>
    public void CompareMails(JsonElement results, IReadOnlyList<string> recipients, bool strict, Findings findings)
    {
        var (members, sent, uncertain) = (Count("members"), Count("sent"), Count("uncertain"));
        var (suppressed, failed) = (Count("suppressed"), Count("failed"));
        if (members != ExpectedMembers.Count || sent + uncertain + suppressed + failed != members)
            findings.AddDifference($"The campaign has {members} members and {sent + uncertain + suppressed + failed} outcomes; the file says {ExpectedMembers.Count}.");
        if (suppressed != 0)
            findings.AddDifference($"{suppressed} mails were suppressed, and every member consents.");
        var people = recipients.Distinct(StringComparer.OrdinalIgnoreCase).ToList();
        findings.Add(0, recipients.Count - people.Count, $"{recipients.Count - people.Count} mails are a second one to the same address.");
        var (least, most) = strict ? (members, members) : (sent, sent + uncertain);
        findings.Add(Math.Max(0, least - people.Count), Math.Max(0, people.Count - most), $"{people.Count} people got a mail; sent {sent}, uncertain {uncertain} of {members}.");
        var strangers = people.Except(ExpectedMembers.Select(m => m.Email), StringComparer.OrdinalIgnoreCase).Count();
        if (strangers != 0)
            findings.AddDifference($"{strangers} mails went to somebody who is not a member.");

        long Count(string name) => results.GetProperty(name).GetInt64();
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

    /// <summary>Every click that Campaigns took is one statement in the ledger; again is another click.</summary>
    public async Task CompareWithdrawalsAsync(int pressed, Findings findings, CancellationToken ct = default)
    {
        var statements = await OfCustomersAsync("SELECT count(*) FROM consents WHERE state = 'withdrawn' AND customer_id = ANY ($1)", ct);
        var people = await OfCustomersAsync("SELECT count(DISTINCT customer_id) FROM consents WHERE state = 'withdrawn' AND customer_id = ANY ($1)", ct);
        findings.Compare(pressed, people, $"{pressed} people unsubscribed; the ledger has withdrawals of {people}.");
        // A message's events are that it was sent, and the clicks.
        var clicks = await OfCustomersAsync(
            "SELECT coalesce(sum(event_sequence - CASE WHEN status = 'sent' THEN 1 ELSE 0 END), 0)::bigint FROM messages WHERE link_used_at IS NOT NULL AND kind = 'campaign' AND customer_id = ANY ($1)",
            ct, "campaigns");
        findings.Add(Math.Max(0, clicks - statements), Math.Max(0, statements - clicks), $"The ledger has {statements} withdrawals of {clicks} clicks.");
    }

    private async Task FindCustomersAsync(Findings findings, CancellationToken ct)
    {
        await using var contacts = NpgsqlDataSource.Create(await platform.ConnectionStringAsync("contacts"));
        var known = customers.ToDictionary(c => c.Id);
        var found = new Dictionary<string, CdnowCustomer>();
        await using (var command = contacts.CreateCommand("SELECT external_id, customer_id FROM external_ids WHERE system = 'cdnow'"))
        {
            await using var reader = await command.ExecuteReaderAsync(ct);
            while (await reader.ReadAsync(ct))
            {
                if (known.TryGetValue(reader.GetString(0), out var customer))
                    found.Add(PublicIds.Format("cus", reader.GetGuid(1)), customer);
                else
                    findings.Add(0, 1, $"Contacts has cdnow:{reader.GetString(0)}, which was not loaded.");
            }
        }

        _byId = found;
        findings.Add(customers.Count - found.Count, 0, $"Contacts has {found.Count} customers of the log; there are {customers.Count}.");
        // Their addresses are theirs alone: whoever else has one was created a second time.
        var twice = await OfCustomersAsync("SELECT count(*) FROM customers WHERE emails @? '$[*] ? (@.address like_regex \"^cdnow-.*@customers[.]example$\")' AND id <> ALL ($1)", ct);
        findings.Add(0, twice, $"Contacts has {twice} more customers with addresses of the log.");
    }

    private async Task CompareAccountsAndTimelinesAsync(Findings findings, CancellationToken ct) =>
        await Parallel.ForEachAsync(_byId, new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = ct }, async (entry, token) =>
        {
            var (id, customer) = entry;
            var (bought, paid, total) = (customer.Purchases.Count, customer.Purchases.Count(p => p.AmountMinor > 0), customer.Purchases.Sum(p => p.AmountMinor));
            var account = await api.GetAsync($"v1/customers/{id}/account", token);
            var orders = account.GetProperty("orders").GetInt64();
            var revenue = account.GetProperty("by_currency").EnumerateArray().Sum(c => c.GetProperty("revenue").GetInt64());
            var balance = account.GetProperty("by_currency").EnumerateArray().Sum(c => Math.Abs(c.GetProperty("balance").GetInt64()));
            var sentence = $"Customer {customer.Id} has {orders} orders of {revenue} cents, balance {balance}; the log says {bought} of {total}, all paid.";
            if (orders == bought && (revenue != total || balance != 0))
                findings.AddDifference(sentence);
            findings.Compare(bought, orders, sentence);

            var entries = new List<string>();
            await foreach (var item in PagesAsync($"v1/customers/{id}/timeline?limit=100", token))
                entries.Add(item.GetProperty("type").GetString()!);
            foreach (var (type, expected) in new[] { ("order", bought), ("invoice", bought), ("payment", paid) })
            {
                var there = entries.Count(e => e == type);
                findings.Compare(expected, there, $"The timeline of customer {customer.Id} has {there} entries of type {type}; the log says {expected}.");
            }
        });

    /// <summary>The copies of the log's customers and their consents against Contacts.</summary>
    /// <param name="only">The copy of this service.</param>
    public async Task CompareCopiesAsync(Findings findings, CancellationToken ct, string? only = null)
    {
        if (_byId.Count == 0)
            await FindCustomersAsync(new Findings(), ct);
        await using var contacts = NpgsqlDataSource.Create(await platform.ConnectionStringAsync("contacts"));
        var truth = await CustomerCopies.ReadTruthAsync(contacts, Ids, others: false, ct);
        foreach (var service in CustomerCopies.Services.Where(s => platform.Services.ContainsKey(s) && (only ?? s) == s))
        {
            await using var database = NpgsqlDataSource.Create(await platform.ConnectionStringAsync(service));
            await CustomerCopies.CompareAsync(service, database, truth, Ids, others: false, findings, ct);
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

    /// <param name="sql">Of the service; its parameter is the log's customers.</param>
    private async Task<long> OfCustomersAsync(string sql, CancellationToken ct, string service = "contacts")
    {
        await using var database = NpgsqlDataSource.Create(await platform.ConnectionStringAsync(service));
        await using var command = database.CreateCommand(sql);
        command.Parameters.Add(new NpgsqlParameter<Guid[]> { TypedValue = Ids });
        return (long)(await command.ExecuteScalarAsync(ct))!;
    }

    private async IAsyncEnumerable<JsonElement> PagesAsync(string path, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken ct)
    {
        for (string? cursor = ""; cursor is not null;)
        {
            var page = await api.GetAsync(cursor.Length == 0 ? path : $"{path}&cursor={Uri.EscapeDataString(cursor)}", ct);
            foreach (var item in page.GetProperty("data").EnumerateArray())
                yield return item;
            cursor = page.GetProperty("next_cursor").GetString();
        }
    }

    private Task<JsonElement> PostAsync(string path, object? body, CancellationToken ct) => api.PostAsync(path, body, Guid.NewGuid().ToString("n"), ct);
}

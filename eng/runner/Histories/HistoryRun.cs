using System.Globalization;
using System.Net;
using System.Text.Json;

namespace Crm.Runner.Histories;

/// <summary>Lives one history through the public API, beside a model of what it must come to.</summary>
public sealed class HistoryRun(ApiClient api, HistoryCheck check, History history, TimeSpan patience)
{
    private readonly HistoryModel _model = new();
    private readonly string _name = Guid.NewGuid().ToString("n");
    private readonly List<string> _unheard = [];
    private int _step;

    /// <summary>Calls that were acknowledged.</summary>
    public int Acknowledged { get; private set; }

    /// <summary>Rows that were acknowledged.</summary>
    internal IEnumerable<RecordedRow> Recorded =>
    [
        .. _model.Customers.Select(c => new RecordedRow(RowFact.Customer, c)),
        .. _model.Rows.Where(r => r.Type != RowFact.Edit).Select(r => new RecordedRow(r.Type, PublicIds.Parse(r.Id))),
        .. _model.Merges.Select(m => new RecordedRow(RowFact.Merge, PublicIds.Parse(m.Id))),
        .. _model.Messages.Select(m => new RecordedRow(RowFact.Message, PublicIds.Parse(m))),
    ];

    /// <summary>
    /// The steps, then every merge undone, the newest or the oldest first. What is not as it must be, when all messages have
    /// had time to arrive: none when all holds.
    /// </summary>
    public async Task<IReadOnlyList<string>> RunAsync(CancellationToken ct)
    {
        for (var i = 0; i < history.Customers; i++)
            await CreateAsync(i, ct);
        foreach (var step in history.Steps)
        {
            _step++;
            await DoAsync(step, ct);
        }

        if (await ConvergeAsync("after the steps", ct) is { Count: > 0 } early)
            return early;
        var oldestFirst = history.Steps.Count % 2 == 0;
        while (_model.Active is { Count: > 0 } active)
        {
            _step++;
            await UndoAsync(active[oldestFirst ? 0 : ^1], ct);
        }

        return await ConvergeAsync("after all merges were undone", ct);
    }

    private async Task<IReadOnlyList<string>> ConvergeAsync(string when, CancellationToken ct)
    {
        if (_unheard.Count > 0)
            return _unheard;
        var start = System.Diagnostics.Stopwatch.GetTimestamp();
        while (true)
        {
            var late = System.Diagnostics.Stopwatch.GetElapsedTime(start) > patience;
            var differences = await check.CompareAsync(_model, api, all: late, ct);
            if (differences.Count == 0)
                return [];
            if (late)
                return [.. differences.Select(d => $"{when}: {d}")];
            // Many histories look at the same time, and what they look at has work to do.
            await Task.Delay(1500, ct);
        }
    }

    private Task DoAsync(Step step, CancellationToken ct) => step switch
    {
        Step.Edit(var customer) => EditAsync(Customer(customer), ct),
        Step.Rename(var customer) => RenameAsync(Customer(customer), ct),
        Step.Consent(var customer, var granted) => ConsentAsync(Customer(customer), granted, ct),
        Step.Order(var customer) => RecordAsync("order", Customer(customer), ct),
        Step.Case(var customer) => RecordAsync("case", Customer(customer), ct),
        Step.Interaction(var customer) => RecordAsync("interaction", Customer(customer), ct),
        Step.Reply(var to) => ReplyAsync(to, ct),
        Step.Merge(var survivor, var absorbed) => MergeAsync(Customer(survivor), [Customer(absorbed)], ct),
        Step.MergeThree(var survivor, var first, var second) => MergeAsync(Customer(survivor), [Customer(first), Customer(second)], ct),
        Step.Undo(var which) => _model.Active is { Count: > 0 } active ? UndoAsync(active[which % active.Count], ct) : Task.CompletedTask,
        Step.Wait(var milliseconds) => Task.Delay(milliseconds, ct),
        _ => throw new InvalidOperationException($"{step}"),
    };

    private Guid Customer(int number) => _model.Customers[number % _model.Customers.Count];

    /// <summary>With a value in every field of a person that may have one, of its own where that tells people apart; every other one lacks some.</summary>
    private async Task CreateAsync(int number, CancellationToken ct)
    {
        var own = Guid.NewGuid().ToString("n");
        var digits = uint.Parse(own[..8], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        var whole = number % 2 == 0;
        _model.Create(await PostAsync("v1/customers", new
        {
            kind = "person",
            given_name = $"P{number}",
            family_name = _name[..12],
            emails = new[]
            {
                new { address = $"{_name}-{number}@histories.example", type = "home", primary = false },
                new { address = $"{own}@histories.example", type = "work", primary = true },
            },
            phones = new[] { new { number = $"+491{digits:d10}{number}", type = "mobile", primary = true } },
            addresses = new[] { new { lines = new[] { own[..10], own[10..16] }, city = own[16..24], region = own[24..28], postal_code = $"{digits % 100000:d5}", country = whole ? "DE" : "AU", type = "shipping", primary = true } },
            birth_date = whole ? new DateOnly(1940, 1, 1).AddDays((int)(digits % 25000)) : (DateOnly?)null,
            locale = whole ? null : "en-AU",
            time_zone = whole ? null : "Australia/Perth",
            tier = whole ? "gold" : "silver",
            attributes = new Dictionary<string, object> { ["number"] = number, [whole ? "even" : "odd"] = own },
            tags = new[] { "histories", whole ? "even" : "odd" },
            external_ids = new[] { new { system = "histories", id = $"{_name}-{number}" } },
            source = new { type = whole ? "enquiry" : "campaign", detail = $"History {number}" },
        }, ct));
    }

    /// <summary>A field of its own: edits of several customers do not compete when these become one.</summary>
    private async Task EditAsync(Guid customer, CancellationToken ct)
    {
        var field = $"e{_step.ToString(CultureInfo.InvariantCulture)}";
        await api.PatchAsync($"v1/customers/{Text(customer)}", new { attributes = new Dictionary<string, int> { [field] = _step } }, ct);
        Acknowledged++;
        _model.Rows.Add(new(RowFact.Edit, field, _model.RootOf(customer), _step));
    }

    /// <summary>It stays with whoever stood for the customer then, whatever is undone afterwards.</summary>
    private async Task RenameAsync(Guid customer, CancellationToken ct)
    {
        await api.PatchAsync($"v1/customers/{Text(customer)}", new { given_name = HistoryModel.NewName(_step) }, ct);
        Acknowledged++;
        _model.Rows.Add(new(RowFact.Edit, RowFact.GivenName, _model.RootOf(customer), _step));
    }

    private async Task ConsentAsync(Guid customer, bool granted, CancellationToken ct)
    {
        var statement = await PostAsync($"v1/customers/{Text(customer)}/consents", new { channel = "email", purpose = "news", state = granted ? "granted" : "denied", source = "histories" }, ct);
        _model.Rows.Add(new("consent", statement.GetProperty("id").GetString()!, _model.RootOf(customer), _step, granted));
    }

    /// <summary>Under an id that may be an old one, at a service that may not have heard of it.</summary>
    private async Task RecordAsync(string type, Guid customer, CancellationToken ct)
    {
        var (id, now) = (Text(customer), DateTimeOffset.UtcNow);
        var recorded = type switch
        {
            "case" => await PostAsync("v1/cases", new { customer_id = id, type = "question", subject = $"Step {_step}" }, ct),
            "interaction" => await PostAsync("v1/interactions", new { customer_id = id, channel = "call", direction = "inbound", started_at = now }, ct),
            _ => await PostAsync("v1/orders", new { customer_id = id, placed_at = now, total = new { amount_minor = 100, currency = "EUR" }, status = "completed" }, ct),
        };
        _model.Rows.Add(new(type, recorded.GetProperty("id").GetString()!, PublicIds.Parse(recorded.GetProperty("customer_id").GetString()!), _step));
    }

    private async Task ReplyAsync(int to, CancellationToken ct)
    {
        if (_model.Rows.Where(r => r.Type == "case").ToList() is { Count: > 0 } cases)
        {
            var reply = await PostAsync($"v1/cases/{cases[to % cases.Count].Id}/messages", new { direction = "inbound", body = $"Step {_step}" }, ct);
            _model.Messages.Add(reply.GetProperty("message").GetProperty("id").GetString()!);
        }
    }

    /// <param name="absorbedNamed">Each under any of its ids; two of one customer count once, and the survivor's own not at all.</param>
    private async Task MergeAsync(Guid survivorNamed, Guid[] absorbedNamed, CancellationToken ct)
    {
        var survivor = _model.RootOf(survivorNamed);
        var named = absorbedNamed.DistinctBy(_model.RootOf).Where(a => _model.RootOf(a) != survivor).ToList();
        if (named.Count == 0)
            return;
        var absorbed = named.ConvertAll(_model.RootOf);
        var choices = _model.ChoicesAmong(absorbed);
        var asked = new
        {
            customer_ids = named.Prepend(survivorNamed).Select(Text).ToArray(),
            survivor_id = Text(survivorNamed),
            choices = choices.ToDictionary(c => c.Key, c => Text(c.Value)),
        };
        for (var attempt = 1; ; attempt++)
        {
            var preview = await PostAsync("v1/merge-previews", asked, ct);
            try
            {
                var merge = await PostAsync("v1/merges", new { token = preview.GetProperty("token").GetString(), reason = "A history" }, ct);
                _model.Merge(merge.GetProperty("id").GetString()!, survivor, absorbed, choices, _step);
                return;
            }
            catch (ApiException e) when (e.Status == HttpStatusCode.Conflict && e.Problem.Contains("preview_outdated", StringComparison.Ordinal) && attempt < 10)
            {
                // A record changed by what another service told of it.
            }
        }
    }

    private async Task UndoAsync(MergeFact merge, CancellationToken ct)
    {
        var undone = await PostAsync($"v1/merges/{merge.Id}/undo", new { reason = "A history" }, ct);
        _model.Undo(merge, _step);
        // The release before, beside this one in an upgrade, carried none.
        if (!undone.TryGetProperty("carried_consents", out var carried))
            return;
        _model.Rows.AddRange(carried.EnumerateArray().Select(c => new RowFact(
            "consent", c.GetProperty("consent_id").GetString()!, PublicIds.Parse(c.GetProperty("customer_id").GetString()!), _step, Granted: false)));
        if (!merge.Refused)
            return;
        foreach (var restored in merge.Absorbed)
        {
            var held = (await api.GetAsync($"v1/customers/{Text(restored)}/consents", ct)).GetProperty("current").EnumerateArray().Select(c => c.GetProperty("state").GetString());
            if (!held.SequenceEqual(["denied"]))
                _unheard.Add($"{Text(restored)} is {string.Join(' ', held)} after the undo of {merge.Id}, while which consent was denied.");
        }
    }

    private async Task<JsonElement> PostAsync(string path, object body, CancellationToken ct)
    {
        var answer = await api.PostAsync(path, body, Guid.NewGuid().ToString("n"), ct);
        Acknowledged++;
        return answer;
    }

    private static string Text(Guid customer) => PublicIds.Format("cus", customer);
}

/// <summary>A row that a service has acknowledged.</summary>
public readonly record struct RecordedRow(string Type, Guid Id);

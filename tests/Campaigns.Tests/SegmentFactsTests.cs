using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Events;

namespace Campaigns.Tests;

/// <summary>
/// Customers whose members are worked out by hand, as of 1998-06-30:
/// <code>
///     orders (not cancelled)                      other
/// a   01-01 23:59 USD 10, 03-31 USD 20            91 days since the last; interaction 10 days ago
/// b   02-01 USD 5, 04-01 00:00 USD 7              90 days since the last; marketing withdrawn
/// c   01-10 EUR 30; 01-11 USD 90 cancelled;       organization, consent for phone only; interaction 180 days ago,
///     07-01 00:00 USD 1, after the day            another after the day
/// d   none                                        no country, no e-mail; one complaint open
/// e   01-05 USD 1, 06-30 23:59:59 USD 2           complaint solved, a question open
/// f   as a, merged       g   as a, erased         never members
/// </code>
/// </summary>
public sealed class FactsFixture : IAsyncLifetime
{
    private readonly CampaignsFixture _fixture;
    private readonly Dictionary<string, string> _letters = [];

    public FactsFixture(CampaignsFixture fixture) => _fixture = fixture;

    public string Batch { get; } = CampaignsFixture.NewBatch();

    public async ValueTask InitializeAsync()
    {
        Dictionary<string, object> ofA = new() { ["topic"] = "Maths", ["score"] = 10, ["vip"] = true, ["budget"] = new { amount_minor = 100_000, currency = "EUR" } };
        var customers = new Dictionary<string, CustomerSnapshot>
        {
            ["a"] = New("a@one.example", "US", ofA) with { Lifecycle = "active_buyer", Tier = "gold", Tags = ["fair", "vip"], Department = "sales", Locale = "en-US", CreatedAt = At("1997-01-01T00:00:00Z") },
            ["b"] = New("b@two.example", "US", new() { ["topic"] = "music", ["score"] = 2.5, ["budget"] = new { amount_minor = 900, currency = "USD" } }) with { Department = "service", Tags = ["fair"], CreatedAt = At("1997-06-01T00:00:00Z") },
            ["c"] = New("c@one.example", "GB", new() { ["score"] = "10", ["budget"] = 7_000 }) with { Kind = "organization", Lifecycle = "lapsed", CreatedAt = At("1998-01-01T00:00:00Z") },
            ["d"] = New(null, null, []) with { CreatedAt = At("1998-02-01T00:00:00Z") },
            ["e"] = New("e@two.example", "DE", new() { ["vip"] = false, ["budget"] = new { amount_minor = 5_000, currency = "EUR" } }) with { Tier = "vip", CreatedAt = At("1998-03-01T00:00:00Z") },
            ["f"] = New("f@one.example", "US", ofA) with { State = "merged", Tier = "gold" },
            ["g"] = New("g@one.example", "US", ofA) with { State = "erased", Tier = "gold" },
        };
        foreach (var (letter, customer) in customers)
        {
            _letters.Add(customer.Id, letter);
        }

        await _fixture.RegisterAsync(customers.Values, consent: false);
        OrderRecorded[] orders =
        [
            .. new[] { "a", "f" }.SelectMany(l => new[] { Order(l, "1998-01-01T23:59:00Z", 1000), Order(l, "1998-03-31T12:00:00Z", 2000) }),
            Order("b", "1998-02-01T00:00:00Z", 500), Order("b", "1998-04-01T00:00:00Z", 700),
            Order("c", "1998-01-10T00:00:00Z", 3000, "EUR"), Order("c", "1998-01-11T00:00:00Z", 9000, status: "cancelled"), Order("c", "1998-07-01T00:00:00Z", 100),
            Order("e", "1998-01-05T00:00:00Z", 100), Order("e", "1998-06-30T23:59:59Z", 200, status: "returned"),
        ];
        CaseChanged[] cases = [Case("d", "complaint", "open"), Case("e", "complaint", "solved"), Case("e", "question", "waiting"), Case("a", "problem", "solved")];
        InteractionLogged[] interactions = [Interaction("a", "1998-06-20T15:00:00Z"), Interaction("c", "1998-01-01T00:00:00Z"), Interaction("c", "1998-07-05T00:00:00Z")];
        ConsentRecorded[] consents = [Consent("a", "email", "granted"), Consent("b", "email", "withdrawn"), Consent("c", "phone", "granted")];
        // Of an erased customer nothing comes back.
        await _fixture.PublishAsync([Order("g", "1998-01-01T23:59:00Z", 1000), .. orders]);
        await _fixture.PublishAsync(cases);
        await _fixture.PublishAsync(interactions);
        await _fixture.PublishAsync(consents);
        var ids = customers.Values.Select(c => CampaignsFixture.Key(c.Id)).ToArray();
        await _fixture.UntilAsync(orders.Length, "SELECT count(*) FROM orders WHERE customer_id = ANY ($1)", ids);
        await _fixture.UntilAsync(cases.Length, "SELECT count(*) FROM cases WHERE customer_id = ANY ($1)", ids);
        await _fixture.UntilAsync(interactions.Length, "SELECT count(*) FROM interactions WHERE customer_id = ANY ($1)", ids);
        await _fixture.UntilAsync(consents.Length, "SELECT count(*) FROM customer_consents WHERE customer_id = ANY ($1)", ids);

        CustomerSnapshot New(string? email, string? country, Dictionary<string, object> attributes) => CampaignsFixture.Customer(Batch, email, country: country, attributes: attributes);
        string Id(string letter) => customers[letter].Id;
        OrderRecorded Order(string of, string at, long minor, string currency = "USD", string status = "completed") =>
            new(Ids.Order.Format(Guid.CreateVersion7()), 1, Id(of), At(at), 1, new Money(minor, currency), status);
        CaseChanged Case(string of, string type, string status) =>
            new(Ids.Case.Format(Guid.CreateVersion7()), 1, Id(of), type, "Late", "normal", "returns", status, "opened", At("1998-01-01T00:00:00Z"), null);
        InteractionLogged Interaction(string of, string at) => new(Ids.Interaction.Format(Guid.CreateVersion7()), 1, Id(of), "call", "inbound", At(at), null);
        ConsentRecorded Consent(string of, string channel, string state) => new(Id(of), channel, "marketing", state, 1, At("1998-01-01T00:00:00Z"));
    }

    /// <summary>The letters of the members, by the endpoint that lists them.</summary>
    public async Task<string> MembersAsync(string condition, string? asOf)
    {
        var definition = JsonNode.Parse($$$"""{"all":[{"fact":"attributes.batch","eq":"{{{Batch}}}"},{{{condition}}}]}""")!;
        var segment = await _fixture.PostAsync("/v1/segments", new { name = "facts", as_of = asOf, definition });
        var members = await _fixture.GetAsync($"/v1/segments/{segment["id"]}/members");
        var letters = string.Concat(members["data"]!.AsArray().Select(m => _letters[(string)m!["customer_id"]!]).Order());
        Assert.Equal(letters.Length, (long)segment["count"]!);
        return letters;
    }

    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }

    private static DateTimeOffset At(string text) => DateTimeOffset.Parse(text, System.Globalization.CultureInfo.InvariantCulture);
}

public sealed class SegmentFactsTests(FactsFixture facts) : IClassFixture<FactsFixture>
{
    [Theory]
    [InlineData("""{"fact":"lifecycle","eq":"active_buyer"}""", "a")]
    [InlineData("""{"fact":"lifecycle","ne":"prospect"}""", "ac")]
    [InlineData("""{"fact":"lifecycle","in":["lapsed","active_buyer"]}""", "ac")]
    [InlineData("""{"fact":"kind","eq":"organization"}""", "c")]
    [InlineData("""{"fact":"tier","in":["gold","vip"]}""", "ae")]
    [InlineData("""{"fact":"tags","contains":"fair"}""", "ab")]
    [InlineData("""{"not":{"fact":"tags","contains":"vip"}}""", "bcde")]
    [InlineData("""{"fact":"tags","in":["vip","nobody-has-it"]}""", "a")]
    [InlineData("""{"fact":"tags","exists":true}""", "ab")]
    [InlineData("""{"fact":"tags","exists":false}""", "cde")]
    [InlineData("""{"fact":"country","eq":"US"}""", "ab")]
    [InlineData("""{"fact":"country","ne":"US"}""", "ce")]
    [InlineData("""{"not":{"fact":"country","eq":"US"}}""", "cde")]
    [InlineData("""{"not":{"fact":"country","ne":"US"}}""", "abd")]
    [InlineData("""{"fact":"country","exists":true}""", "abce")]
    [InlineData("""{"fact":"country","exists":false}""", "d")]
    [InlineData("""{"fact":"department","contains":"SALE"}""", "a")]
    [InlineData("""{"fact":"locale","exists":true}""", "a")]
    [InlineData("""{"fact":"email","exists":true}""", "abce")]
    [InlineData("""{"fact":"email","contains":"@one.example"}""", "ac")]
    [InlineData("""{"fact":"created_at","lt":"1998-01-01T00:00:00Z"}""", "ab")]
    [InlineData("""{"fact":"created_at","gte":"1998-02-01T01:00:00+01:00"}""", "de")]
    [InlineData("""{"fact":"attributes.topic","eq":"Maths"}""", "a")]
    [InlineData("""{"fact":"attributes.topic","ne":"Maths"}""", "b")]
    [InlineData("""{"fact":"attributes.topic","contains":"m"}""", "ab")]
    [InlineData("""{"fact":"attributes.topic","in":["music","art"]}""", "b")]
    [InlineData("""{"fact":"attributes.topic","gt":"a"}""", "b")]
    [InlineData("""{"fact":"attributes.topic","exists":false}""", "cde")]
    [InlineData("""{"fact":"attributes.score","gte":2.5}""", "ab")]
    [InlineData("""{"fact":"attributes.score","eq":10.0}""", "a")]
    [InlineData("""{"fact":"attributes.score","eq":"10"}""", "c")]
    [InlineData("""{"fact":"attributes.budget","gte":5000,"currency":"EUR"}""", "ae")]
    [InlineData("""{"fact":"attributes.budget","currency":"EUR","gt":5000}""", "a")]
    [InlineData("""{"fact":"attributes.budget","currency":"EUR","ne":5000}""", "a")]
    [InlineData("""{"fact":"attributes.budget","currency":"USD","eq":900}""", "b")]
    [InlineData("""{"fact":"attributes.budget","currency":"USD","lt":1000000}""", "b")]
    [InlineData("""{"fact":"attributes.budget","currency":"EUR","exists":true}""", "ae")]
    [InlineData("""{"fact":"attributes.budget","currency":"EUR","exists":false}""", "bcd")]
    [InlineData("""{"not":{"fact":"attributes.budget","currency":"EUR","gte":0}}""", "bcd")]
    [InlineData("""{"fact":"attributes.vip","eq":true}""", "a")]
    [InlineData("""{"fact":"attributes.vip","ne":true}""", "e")]
    [InlineData("""{"fact":"orders.count","eq":0}""", "d")]
    [InlineData("""{"fact":"orders.count","eq":1}""", "c")]
    [InlineData("""{"fact":"orders.count","gte":2}""", "abe")]
    [InlineData("""{"fact":"orders.count","in":[0,1]}""", "cd")]
    [InlineData("""{"fact":"orders.count","exists":true}""", "abce")]
    [InlineData("""{"fact":"orders.spend","currency":"USD","gte":1200}""", "ab")]
    [InlineData("""{"fact":"orders.spend","currency":"USD","eq":0}""", "cd")]
    [InlineData("""{"fact":"orders.spend","currency":"EUR","gt":0}""", "c")]
    [InlineData("""{"fact":"orders.spend","currency":"USD","exists":true}""", "abe")]
    [InlineData("""{"any":[{"fact":"orders.spend","currency":"EUR","gte":3000},{"fact":"orders.spend","currency":"USD","gte":3000}]}""", "ac")]
    [InlineData("""{"fact":"orders.first_at","lte":"1998-01-05T00:00:00Z"}""", "ae")]
    [InlineData("""{"fact":"orders.last_at","gt":"1998-03-31T12:00:00Z"}""", "be")]
    [InlineData("""{"fact":"orders.days_since_last","gt":90}""", "ac")]
    [InlineData("""{"fact":"orders.days_since_last","eq":90}""", "b")]
    [InlineData("""{"fact":"orders.days_since_last","eq":0}""", "e")]
    [InlineData("""{"not":{"fact":"orders.days_since_last","gt":90}}""", "bde")]
    [InlineData("""{"fact":"orders.days_since_first","eq":180}""", "a")]
    [InlineData("""{"all":[{"fact":"orders.count","gte":2},{"fact":"orders.days_since_last","gt":90}]}""", "a")]
    [InlineData("""{"fact":"complaints.open","exists":true}""", "d")]
    [InlineData("""{"fact":"complaints.open","exists":false}""", "abce")]
    [InlineData("""{"fact":"complaints.open","gte":1}""", "d")]
    [InlineData("""{"fact":"cases.open","eq":1}""", "de")]
    [InlineData("""{"fact":"consent.email.marketing","eq":"granted"}""", "a")]
    [InlineData("""{"fact":"consent.email.marketing","in":["granted","withdrawn"]}""", "ab")]
    [InlineData("""{"all":[{"fact":"consent.phone.marketing","eq":"granted"},{"not":{"fact":"consent.email.marketing","eq":"granted"}}]}""", "c")]
    [InlineData("""{"fact":"interactions.days_since_last","lte":10}""", "a")]
    [InlineData("""{"fact":"interactions.days_since_last","eq":180}""", "c")]
    [InlineData("""{"fact":"interactions.days_since_last","exists":false}""", "bde")]
    [InlineData("""{"not":{"any":[{"fact":"country","eq":"US"},{"not":{"fact":"orders.count","gt":0}}]}}""", "ce")]
    public async Task The_members_are_those_worked_out_by_hand(string condition, string expected) =>
        Assert.Equal(expected, await facts.MembersAsync(condition, "1998-06-30"));

    [Theory]
    [InlineData("1998-06-30T00:00:00Z", "abe")]
    [InlineData("1998-06-30T23:59:59.999999Z", "abe")]
    [InlineData("1998-07-01T01:00:00+02:00", "abe")]
    [InlineData("1998-07-01", "abce")]
    [InlineData("1998-06-29", "ab")]
    public async Task Of_as_of_only_the_date_in_utc_counts(string asOf, string expected) =>
        Assert.Equal(expected, await facts.MembersAsync("""{"fact":"orders.count","gte":2}""", asOf));

    [Fact]
    public async Task Without_as_of_facts_count_back_from_today() =>
        Assert.Equal("abce", await facts.MembersAsync("""{"fact":"orders.days_since_last","gt":9000}""", null));

    [Theory]
    [InlineData("'; DROP TABLE segments; --")]
    [InlineData("' OR 1=1 --")]
    [InlineData("{0} %s $1 @seg0")]
    public async Task Text_of_a_definition_is_never_sql(string text)
    {
        Assert.Equal("", await facts.MembersAsync($$$"""{"fact":"country","eq":{{{JsonSerializer.Serialize(text)}}}}""", null));
        Assert.Equal("", await facts.MembersAsync($$$"""{"fact":"attributes.topic","in":[{{{JsonSerializer.Serialize(text)}}}]}""", null));
    }
}

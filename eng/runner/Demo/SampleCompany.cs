using System.Globalization;
using Bogus;

namespace Crm.Runner.Demo;

internal sealed record SampleCustomer(int Number, object Body, bool? MarketingConsent, DateTimeOffset ConsentAt);

internal sealed record SampleOrder(int Number, int Customer, object Body, DateTimeOffset PlacedAt, long Total, string Currency, bool Completed);

internal sealed record SampleInteraction(int Number, int Customer, Func<string, object> Body);

internal sealed record SampleCase(int Number, int Customer, Func<string, object> Body, string? Answer, bool Solved);

/// <summary>
/// A small maker of outdoor gear that sells to people and shops in four countries. Everything is generated from one seed
/// and counted back from one day, so a second run says the same. Names are invented; addresses are under example.com and
/// telephone numbers in the ranges that regulators keep for fiction.
/// </summary>
internal sealed class SampleCompany
{
    private const int Seed = 1998;
    private const int People = 48, Shops = 12;

    private static readonly Country[] Countries =
    [
        new("GB", "en_GB", "en-GB", "Europe/London", "GBP", n => $"+44207946{n:D4}"),
        new("DE", "de", "de-DE", "Europe/Berlin", "EUR", n => $"+493023125{n:D3}"),
        new("FR", "fr", "fr-FR", "Europe/Paris", "EUR", n => $"+331990000{n % 100:D2}"),
        new("SE", "sv", "sv-SE", "Europe/Stockholm", "SEK", n => $"+468465004{n % 100:D2}"),
    ];

    public static readonly IReadOnlyList<(string Sku, string Name, long Pence)> Products =
    [
        ("FF-TENT-2", "Two-person tent", 24_900), ("FF-TENT-4", "Four-person tent", 42_900), ("FF-BAG-3S", "Three-season sleeping bag", 13_900),
        ("FF-PACK-45", "Rucksack, 45 litres", 11_900), ("FF-STOVE", "Gas stove", 4_950), ("FF-MAT", "Sleeping mat", 6_450),
        ("FF-LAMP", "Head lamp", 3_250), ("FF-BOTTLE", "Steel bottle, 1 litre", 1_990),
    ];

    private static readonly string[] Employees = ["jane.hill@fieldandfell.example", "omar.reid@fieldandfell.example", "lotta.berg@fieldandfell.example"];

    private static readonly (string Channel, string Direction, string Subject, string Body)[] Conversations =
    [
        ("call", "inbound", "Delivery date", "Asked when the order arrives. Told: in three working days."),
        ("email", "inbound", "Size of the tent", "Wants to know whether a bicycle fits into the porch of the four-person tent."),
        ("email", "outbound", "Care instructions", "Sent the care instructions for down sleeping bags."),
        ("chat", "inbound", "Spare parts", "Looks for a spare pole. Sent the part number."),
        ("meeting", "outbound", "Spring range", "Showed the spring range; interested in the light rucksacks."),
        ("call", "outbound", "After the purchase", "Asked whether everything works. Content, the stove is louder than expected."),
        ("letter", "inbound", "Thanks", "A card from a walk along the coast, with thanks for the quick repair."),
        ("online", "inbound", "Returns form", "Filled in the returns form: the mat is too short."),
    ];

    private static readonly (string Type, string Subject, string Description, string Priority, string Queue, string Answer)[] Matters =
    [
        ("complaint", "Seam came apart", "The seam of the tent came apart on the second night, in the rain.", "high", "returns", "We are sorry. A new tent is on its way; a label for the return is attached."),
        ("problem", "Stove does not light", "The igniter clicks, but there is no spark.", "normal", "service", "Please clean the electrode as on page 7. If it stays dark, we exchange it."),
        ("question", "Can the bag be washed?", "Is the sleeping bag safe in a machine at 30 degrees?", "low", "service", "Yes, with down detergent and two tennis balls in the dryer."),
        ("complaint", "Invoice paid twice", "My bank shows the payment two times.", "urgent", "billing", "You are right. The second payment goes back today."),
        ("problem", "Parcel not arrived", "The tracking has said 'out for delivery' for four days.", "high", "returns", "The carrier lost it. We have sent a second parcel by express."),
        ("complaint", "Wrong colour sent", "I ordered the green rucksack and got the red one.", "normal", "returns", "Keep it until the green one is there, the driver takes the red one along."),
        ("question", "Discount for clubs", "Does our hiking club get a discount for ten head lamps?", "low", "sales", "From ten pieces on: 12 per cent. Shall we make an offer?"),
    ];

    private int _unreachable;

    public SampleCompany(DateTimeOffset day)
    {
        Day = day;
        var random = new Randomizer(Seed);
        for (var number = 1; number <= People + Shops; number++)
        {
            var country = Countries[random.WeightedRandom([0, 1, 2, 3], [0.4f, 0.3f, 0.15f, 0.15f])];
            var faker = new Faker(country.Generator) { Random = random };
            var organization = number > People;
            // Some buy often and lately, some fell silent, some only asked.
            var habit = random.WeightedRandom(["loyal", "silent", "new", "asking"], [0.4f, 0.3f, 0.15f, 0.15f]);
            Customers.Add(Customer(number, organization, habit, country, faker));
            AddOrders(number, organization, habit, country, random);
            AddInteractions(number, country, random);
        }

        for (var number = 1; number <= 14; number++)
            AddCase(number, random);
    }

    public DateTimeOffset Day { get; }

    public List<SampleCustomer> Customers { get; } = [];

    public List<SampleOrder> Orders { get; } = [];

    public List<SampleInteraction> Interactions { get; } = [];

    public List<SampleCase> Cases { get; } = [];

    private SampleCustomer Customer(int number, bool organization, string habit, Country country, Faker faker)
    {
        var sex = faker.Random.Bool() ? Bogus.DataSets.Name.Gender.Female : Bogus.DataSets.Name.Gender.Male;
        var (given, family) = (faker.Name.FirstName(sex), faker.Name.LastName(sex));
        var company = $"{family} {faker.Random.ArrayElement(["Outdoor", "Sports", "Mountain Shop", "Travel", "Cycles"])}";
        var lifecycle = habit switch { "loyal" => "active_buyer", "silent" => "lapsed", "new" => "active_buyer", _ => "enquiry" };
        var phone = country.Phone(number);
        var since = Day.AddDays(-faker.Random.Int(400, 900));
        // Two of the silent ones have no address: the campaign shows them as suppressed, with the reason.
        var unreachable = habit == "silent" && _unreachable++ < 2;
        var body = new Dictionary<string, object?>
        {
            ["kind"] = organization ? "organization" : "person",
            ["name"] = organization ? company : null,
            ["given_name"] = organization ? null : given,
            ["family_name"] = organization ? null : family,
            ["emails"] = unreachable ? Array.Empty<object>() : [new { address = $"{Plain(organization ? company : $"{given}.{family}")}.{number}@example.com", type = organization ? "work" : "home", primary = true }],
            ["phones"] = new[] { new { number = phone, type = organization ? "work" : "mobile" } },
            ["addresses"] = new[] { new { lines = new[] { faker.Address.StreetAddress() }, city = faker.Address.City(), postal_code = faker.Address.ZipCode(), country = country.Code, type = organization ? "work" : "home" } },
            ["birth_date"] = organization ? null : DateOnly.FromDateTime(Day.AddDays(-faker.Random.Int(20 * 365, 75 * 365)).UtcDateTime).ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
            ["locale"] = country.Locale,
            ["time_zone"] = country.TimeZone,
            ["lifecycle"] = lifecycle,
            ["source"] = new { type = faker.Random.ArrayElement(["enquiry", "existing_buyer", "competitor", "campaign", "import"]) },
            ["department"] = organization ? "wholesale" : "retail",
            ["tier"] = habit == "loyal" ? faker.Random.ArrayElement(["standard", "silver", "gold", "vip"]) : "standard",
            ["attributes"] = new { sample = true, newsletter_topic = faker.Random.ArrayElement(["hiking", "cycling", "water", "winter"]) },
        };
        var chance = faker.Random.Double();
        bool? consent = unreachable || chance < 0.75 ? true : chance < 0.85 ? false : null;
        return new SampleCustomer(number, body.Where(p => p.Value is not null).ToDictionary(p => p.Key, p => p.Value!), consent, since);
    }

    private void AddOrders(int customer, bool organization, string habit, Country country, Randomizer random)
    {
        var (count, newest, oldest) = habit switch
        {
            "loyal" => (random.Int(3, 8), 2, 500),
            "silent" => (random.Int(2, 4), 120, 550),
            "new" => (1, 1, 40),
            _ => (0, 0, 1),
        };
        for (var i = 0; i < count; i++)
        {
            var placed = Day.AddDays(-random.Int(newest, oldest)).AddMinutes(random.Int(8 * 60, 20 * 60));
            var lines = random.ListItems([.. Products], random.Int(1, 3)).Select(p => new
            {
                sku = p.Sku,
                description = p.Name,
                quantity = organization ? random.Int(4, 24) : random.Int(1, 2),
                unit_price = new { amount_minor = p.Pence * country.PricePercent / 100, currency = country.Currency },
            }).ToList();
            var total = lines.Sum(l => l.quantity * l.unit_price.amount_minor);
            var status = random.WeightedRandom(["completed", "returned", "cancelled"], [0.9f, 0.05f, 0.05f]);
            Orders.Add(new SampleOrder(Orders.Count + 1, customer, new { placed_at = placed, lines, total = new { amount_minor = total, currency = country.Currency }, status }, placed, total, country.Currency, status == "completed"));
        }
    }

    private void AddInteractions(int customer, Country country, Randomizer random)
    {
        foreach (var (channel, direction, subject, body) in random.ListItems([.. Conversations], random.Int(0, 4)))
        {
            var start = Day.AddDays(-random.Int(1, 300)).AddMinutes(random.Int(9 * 60, 17 * 60));
            var employee = random.ArrayElement(Employees);
            var minutes = random.Int(2, 45);
            Interactions.Add(new SampleInteraction(Interactions.Count + 1, customer, id => new
            {
                customer_id = id,
                channel,
                direction,
                started_at = start,
                ended_at = start.AddMinutes(minutes),
                time_zone = country.TimeZone,
                employee,
                subject,
                body,
            }));
        }
    }

    private void AddCase(int number, Randomizer random)
    {
        var matter = Matters[(number - 1) % Matters.Length];
        Cases.Add(new SampleCase(
            number,
            random.Int(1, People + Shops),
            id => new { customer_id = id, type = matter.Type, subject = matter.Subject, description = matter.Description, priority = matter.Priority, queue = matter.Queue },
            random.Bool(0.7f) ? matter.Answer : null,
            random.Bool(0.4f)));
    }

    /// <summary>A name as it stands in an address: ASCII letters, digits and dots.</summary>
    private static string Plain(string name)
    {
        var folded = name.ToLowerInvariant().Replace("ß", "ss", StringComparison.Ordinal).Replace(' ', '.').Normalize(System.Text.NormalizationForm.FormD);
        return new string([.. folded.Where(c => char.IsAsciiLetterOrDigit(c) || c == '.')]);
    }

    private sealed record Country(string Code, string Generator, string Locale, string TimeZone, string Currency, Func<int, string> Phone)
    {
        /// <summary>Price list: per cent of the price in pence.</summary>
        public int PricePercent => Currency switch { "EUR" => 118, "SEK" => 1_320, _ => 100 };
    }
}

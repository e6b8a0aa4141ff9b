using Crm.Contacts.Domain.Matching;

namespace Contacts.Tests.Matching;

public sealed class MatchingTests
{
    private static readonly MatchModel Model = MatchModel.Default(organization: false, 1000);

    [Fact]
    public void Missing_is_not_disagreement()
    {
        var whole = Person("Ada", "Byron", "18151210");
        var without = Person("Ada", "Byron", null);
        var other = Person("Ada", "Byron", "18520101");
        var unknown = Model.Score(whole, without);
        Assert.DoesNotContain(unknown.Fields, f => f.Field == MatchField.BirthDate);
        Assert.True(Model.Score(whole, other).Weight < unknown.Weight);
        Assert.True(unknown.Weight < Model.Score(whole, whole).Weight);
    }

    [Fact]
    public void A_score_is_the_sum_of_its_fields_each_with_level_m_and_u()
    {
        var score = Model.Score(Person("Bob", "Smith", "19800229"), Person("Robert", "Smyth", "19800228"));
        Assert.Equal(["variant", "close", "one_error"], score.Fields.Select(f => f.Level));
        Assert.Equal(score.Weight, score.Fields.Sum(f => f.Weight), 9);
        Assert.All(score.Fields, f => Assert.Equal(Math.Log2(f.M / f.U) + f.FrequencyAdjustment, f.Weight, 2.0));
    }

    [Theory]
    [InlineData("Byron", "Ada", "swapped")]
    [InlineData("A", "Byron", "initial")]
    [InlineData("Ada Augusta", "Byron", "variant")]
    [InlineData("Adda", "Byron", "close")]
    [InlineData("Charles", "Byron", "different")]
    public void Given_names_agree_in_levels(string given, string family, string level) =>
        Assert.Equal(level, Model.Score(Person("Ada", "Byron", null), Person(given, family, null)).Fields[0].Level);

    [Fact]
    public void Swapped_names_are_one_comparison()
    {
        var swapped = Model.Score(Person("Ada", "Byron", null), Person("Byron", "Ada", null));
        Assert.Single(swapped.Fields);
        Assert.True(swapped.Weight <= Model.Score(Person("Ada", "Byron", null), Person("Ada", "Byron", null)).Weight);
    }

    [Theory]
    [InlineData("19800102", "19800201", "one_error")]
    [InlineData("19800102", "19810102", "one_error")]
    [InlineData("19800102", "19630102", "two_parts")]
    [InlineData("19800102", "19630703", "different")]
    public void A_birth_date_with_one_error_or_day_and_month_swapped_nearly_agrees(string a, string b, string level) =>
        Assert.Equal(level, Model.Score(Person("Ada", "Byron", a), Person("Ada", "Byron", b)).Fields[^1].Level);

    [Fact]
    public void Street_city_and_postal_code_are_one_comparison_and_abbreviations_are_one()
    {
        var a = Person("Ada", "Byron", null, new MatchAddress(["12 St James's Square"], "London", "SW1Y 4JH"));
        var b = Person("Ada", "Byron", null, new MatchAddress(["12, St. James's Sq."], "London", "sw1y4jh"));
        var address = Assert.Single(Model.Score(a, b).Fields, f => f.Field == MatchField.Address);
        Assert.Equal("street_and_number+place", address.Level);
        var c = Person("Eva", "Kurz", null, new MatchAddress(["Hauptstraße 12a"], "Köln", "50667"));
        var d = Person("Eva", "Kurz", null, new MatchAddress(["Haupt Str. 12a"], "Koeln", "50667"));
        Assert.StartsWith("street_and_number", Assert.Single(Model.Score(c, d).Fields, f => f.Field == MatchField.Address).Level, StringComparison.Ordinal);
    }

    [Fact]
    public void A_rare_name_weighs_more_than_a_common_one()
    {
        var records = Enumerable.Range(0, 600).Select(i => Person(i % 2 == 0 ? "Jan" : "Eva", i < 400 ? "Smith" : $"{(char)('a' + (i % 26))}{(char)('a' + (i / 26))}mann", null)).ToList();
        var model = new ModelEstimator(records).Estimate();
        var common = model.Score(records[0], records[2]).Fields.Single(f => f.Field == MatchField.FamilyName);
        var rare = model.Score(records[500], Person("Jan", records[500].Family, null)).Fields.Single(f => f.Field == MatchField.FamilyName);
        Assert.True(rare.Weight > common.Weight + 2, $"{rare.Weight} and {common.Weight}");
        Assert.True(common.FrequencyAdjustment < 0);
    }

    [Theory]
    [InlineData("Acme Widgets GmbH", "ACME Widgets", "exact")]
    [InlineData("The Smith & Sons Company, Inc.", "Smith and Sons", "exact")]
    [InlineData("Acme Widgets", "Acme Wigdets", "nearly_all")]
    [InlineData("Acme Widgets", "Nordwind Logistik", "different")]
    public void Organisations_agree_by_their_telling_words(string a, string b, string level)
    {
        var model = MatchModel.Default(organization: true, 1000);
        Assert.Equal(level, model.Score(Organization(a), Organization(b)).Fields.Single(f => f.Field == MatchField.OrganizationName).Level);
    }

    [Fact]
    public void Estimating_from_few_records_without_a_duplicate_finds_none()
    {
        var names = new[] { "Ada", "Ben", "Cleo", "Dora", "Emil", "Fritz", "Gina", "Hugo", "Iris", "Jonas", "Karla", "Leon" };
        var records = names.SelectMany((g, i) => names.Select((f, j) => Person(g, $"{f}s{names[(i + j) % 12]}", $"{1950 + i:0000}{j + 1:00}{i + j + 1:00}"))).ToList();
        var model = new ModelEstimator(records).Estimate();
        var candidates = CandidatePairs.Of(records);
        var found = 0;
        for (var block = 0; block < candidates.Blocks; block++)
        {
            candidates.Visit(block, (a, b) => found += model.Score(records[a], records[b]).Probability >= 0.5 ? 1 : 0);
        }

        Assert.Equal(0, found);
    }

    [Fact]
    public void A_pair_that_shares_several_keys_is_a_candidate_once()
    {
        var records = new[] { Person("Ada", "Byron", "18151210"), Person("Ada", "Byron", "18151210"), Person("Ada", "Byrom", "18151210") };
        var pairs = new List<(int, int)>();
        var candidates = CandidatePairs.Of(records);
        for (var block = 0; block < candidates.Blocks; block++)
        {
            candidates.Visit(block, (a, b) => pairs.Add((a, b)));
        }

        Assert.Equal([(0, 1), (0, 2), (1, 2)], pairs.Order());
    }

    [Fact]
    public void Packed_records_are_those_that_were_put_in_whatever_is_in_them()
    {
        var records = Population();
        records.Add(Organization("The Acme Widgets GmbH"));
        var packed = Packed(records);
        Assert.Equal(records.Count, packed.Count);
        Assert.Equal(records.Select(Everything), packed.Select(Everything));
        Assert.Equal(Everything(records[4500]), Everything(packed[4500]));
    }

    [Fact]
    public void Packed_records_have_the_pairs_and_the_model_of_the_same_records_in_any_number_of_ranges()
    {
        var records = Population();
        var packed = Packed(records);
        var expected = Pairs(CandidatePairs.Of(records), records);
        Assert.NotEmpty(expected);
        Assert.Equal(expected, Pairs(CandidatePairs.Of(packed, recordsOfRange: 700), packed));
        var (one, other) = (new ModelEstimator(records).Estimate(), new ModelEstimator(packed).Estimate());
        Assert.Equal(one.M, other.M);
        Assert.Equal(one.U, other.U);
        Assert.Equal(one.MatchesPerRecord, other.MatchesPerRecord);
    }

    [Fact]
    public void An_address_that_many_families_have_counts_and_one_of_a_single_family_does_not()
    {
        var records = Enumerable.Range(0, 40).Select(i => Person("Ada", i < 20 ? $"Byron{(char)('a' + i)}x" : "Byron", null, new MatchAddress([i < 20 ? "1 Tower Road" : "2 Cottage Lane"], "Ware", null))).ToList();
        var terms = TermCounts.Of(records);
        Assert.True(TermCounts.Occurrences(terms.Address, "1 tower") >= 3);
        Assert.True(TermCounts.Occurrences(terms.Address, "2 cottage") <= 1);
    }

    [Theory]
    [InlineData("", 0xecba3df2c3383c52UL)]
    [InlineData("byron", 0x3b848b02ad01ec49UL)]
    [InlineData("šimić", 0x87902c2e25040235UL)]
    public void A_value_is_counted_under_the_key_that_stored_models_have(string value, ulong key) => Assert.Equal(key, TermCounts.KeyOf(value));

    [Fact]
    public void Blocked_values_and_placeholders_are_missing()
    {
        var record = MatchRecord.Of(
            new() { Id = Guid.NewGuid(), GivenName = "unknown", FamilyName = "Byron", BirthDate = "19000101", Emails = ["Info@Corp.example"], Phones = ["+111111111"] },
            value => value == "info@corp.example");
        Assert.Equal(("", "byron", "", 0, 0), (record.Given, record.Family, record.BirthDate, record.Emails.Length, record.Phones.Length));
    }

    [Theory]
    [InlineData("सुनीता", "सुनीत")]
    [InlineData("राजा", "राजू")]
    [InlineData("はら", "ばら")]
    [InlineData("ふくだ", "ふくた")]
    [InlineData("วิภา", "วีภา")]
    [InlineData("민수", "민서")]
    [InlineData("Сергей", "Сергеи")]
    [InlineData("Їва", "Іва")]
    public void Names_with_other_vowel_signs_voicing_marks_or_letters_are_two_and_each_is_one_word(string a, string b)
    {
        var (one, other) = (Person(a, "Byron", null), Person(b, "Byron", null));
        Assert.NotEqual(one.Given, other.Given);
        Assert.Equal((a.ToLowerInvariant(), b.ToLowerInvariant()), (one.Given, other.Given));
        Assert.False(OrganizationName.IsSame(a, b));
        Assert.NotEqual("exact", Model.Score(one, other).Fields[0].Level);
    }

    [Theory]
    [InlineData("José", "JOSE")]
    [InlineData("Алёна", "Алена")]
    [InlineData("Γιώργος", "Γιωργος")]
    [InlineData("שָׁלוֹם", "שלום")]
    [InlineData("مُحَمَّد", "محمد")]
    [InlineData("Сергей", "Сергеи\u0306")]
    [InlineData("ガ", "カ\u3099")]
    [InlineData("ﾊﾞﾝ", "バン")]
    [InlineData("민", "\u1106\u1175\u11ab")]
    [InlineData("葛", "葛\U000e0100")]
    [InlineData("ශ්\u200dරී", "ශ්රී")]
    public void Names_are_one_whether_their_marks_are_written_or_composed_or_not(string a, string b) => Assert.Equal(Person(a, "Byron", null).Given, Person(b, "Byron", null).Given);

    [Theory]
    [InlineData("수", "수진", "near")]
    [InlineData("伟", "伟明", "near")]
    [InlineData("М", "Мария", "initial")]
    public void One_character_is_an_initial_in_an_alphabet_only(string a, string b, string level) =>
        Assert.Equal(level, Model.Score(Person(a, "Byron", null), Person(b, "Byron", null)).Fields[0].Level);

    [Fact]
    public void Ids_of_one_system_that_differ_in_case_are_two_and_keep_a_pair_from_being_merged_unasked()
    {
        var (one, other) = (WithId("001D000000IRFma"), WithId("001D000000IRFmA"));
        Assert.Equal("one_error", Model.Score(one, other).Fields.Single(f => f.Field == MatchField.ExternalId).Level);
        Assert.Equal("different", Model.Score(WithId("a1"), WithId("A1")).Fields.Single(f => f.Field == MatchField.ExternalId).Level);
        Assert.False(MayMergeUnasked(one, other));
        Assert.True(MayMergeUnasked(one, one));
        Assert.NotEqual(BlockingKeys.Of(one), BlockingKeys.Of(other));

        static MatchRecord WithId(string id) => MatchRecord.Of(new()
        {
            Id = Guid.NewGuid(), GivenName = "Ada", FamilyName = "Byron", BirthDate = "18151210", Emails = ["ada@example.com"], ExternalIds = [("salesforce", id)],
        });
    }

    [Theory]
    [InlineData("+4930123456-60", "exact", true)]
    [InlineData("+4930123456-61", "one_error", false)]
    [InlineData("+4940123456-60", "one_error", false)]
    [InlineData("+4989123456-60", "one_error", false)]
    [InlineData("+498955555555", "different", false)]
    public void Namesakes_are_merged_unasked_for_the_very_same_number_only(string phone, string level, bool unasked)
    {
        var (one, other) = (WithPhone("+4930123456-60"), WithPhone(phone));
        var vector = Model.Compare(one, other);
        Assert.Equal(level, Model.Score(one, other).Fields.Single(f => f.Field == MatchField.Phone).Level);
        Assert.Equal((unasked, unasked), (MatchModel.MoreThanNamesAgree(vector), MatchModel.MayMergeUnasked(one, other, vector)));

        static MatchRecord WithPhone(string number) => MatchRecord.Of(new() { Id = Guid.NewGuid(), GivenName = "Anna", FamilyName = "Schmidt", Phones = [number] });
    }

    [Theory]
    [InlineData("Daniel", "Daniel", "", true)]
    [InlineData("Daniel", "Daniela", "", false)]
    [InlineData("Daniel", "Daniela", "19800229", false)]
    [InlineData("सुनीता", "सुनीत", "", false)]
    [InlineData("राजा", "राजू", "19800229", false)]
    [InlineData("Anna", "A", "", false)]
    [InlineData("Anna", "A", "19800229", true)]
    [InlineData("Anna", "", "", false)]
    public void Whoever_may_be_another_of_the_household_is_not_merged_unasked(string a, string b, string birth, bool unasked)
    {
        Assert.Equal(unasked, MayMergeUnasked(OfHousehold(a), OfHousehold(b)));

        MatchRecord OfHousehold(string given) => MatchRecord.Of(new()
        {
            Id = Guid.NewGuid(), GivenName = given, FamilyName = "Schmidt", BirthDate = birth, Emails = ["schmidt@example.com"], Phones = ["+4930123456"],
            Addresses = [new(["7 Elm Road"], "Ware", "SG12 9AB")],
        });
    }

    [Theory]
    [InlineData("anna.schmidt@example.com", "1 Main Street", "Ware", true)]
    [InlineData("anna.schmidt@example.net", "1 Main Street", "Hertford", false)]
    [InlineData("anna.schmidt@example.net", "1 Main Street", null, false)]
    [InlineData("anna.schmidt@example.net", "Main Street", "Ware", false)]
    [InlineData("anna.schmidt@example.net", "1 Main Street", "Ware", true)]
    public void Namesakes_are_merged_unasked_for_the_very_same_mailbox_or_a_house_in_one_place_only(string email, string street, string? city, bool unasked)
    {
        Assert.Equal(unasked, MayMergeUnasked(Anna("anna.schmidt@example.com", "1 Main Street", "Ware"), Anna(email, street, city)));

        static MatchRecord Anna(string mailbox, string line, string? town) => MatchRecord.Of(new()
        {
            Id = Guid.NewGuid(), GivenName = "Anna", FamilyName = "Schmidt", Emails = [mailbox], Addresses = [new([line], town, null)],
        });
    }

    [Theory]
    [InlineData("Acme Ltd.", "Acme Limited", true)]
    [InlineData("Acme Widgets", "Acme Widgets", true)]
    [InlineData("Acme Widgets", "Acme Wigdets", false)]
    [InlineData("Müller GmbH", "MULLER, G.m.b.H.", true)]
    [InlineData("Müller GmbH & Co. KG", "Müller GmbH und Co KG", true)]
    [InlineData("Müller GmbH", "Müller GmbH & Co. KG", false)]
    [InlineData("Müller GmbH", "Müller AG", false)]
    [InlineData("Müller GmbH", "Müller", false)]
    [InlineData("Müller Holding", "Müller", false)]
    public void Organisations_are_merged_unasked_by_the_very_same_name_and_legal_form_only(string a, string b, bool unasked)
    {
        var (one, other) = (OfOffice(a), OfOffice(b));
        Assert.Equal(unasked, MatchModel.MayMergeUnasked(one, other, MatchModel.Default(organization: true, 1000).Compare(one, other)));

        static MatchRecord OfOffice(string firm) => MatchRecord.Of(new() { Id = Guid.NewGuid(), Organization = true, Name = firm, Emails = ["hello@acme.example"] });
    }

    /// <summary>A few thousand, some of them twice, with every kind of value in some.</summary>
    private static List<MatchRecord> Population()
    {
        var random = new Random(7);
        string[] given = ["Ada", "Robert", "Bob", "Jean Luc", "Zoë", "O'Neil", "李"], family = ["Byron", "van den Berg", "Müller", "Smith", "Šimić", "Ng"];
        return [.. Enumerable.Range(0, 5000).Select(i => MatchRecord.Of(new()
        {
            Id = Guid.NewGuid(),
            GivenName = given[random.Next(given.Length)] + (i % 3 == 0 ? $" {(char)('a' + random.Next(26))}{(char)('a' + random.Next(26))}" : ""),
            FamilyName = i % 11 == 0 ? null : $"{family[random.Next(family.Length)]}{(char)('a' + random.Next(26))}",
            BirthDate = i % 2 == 0 ? $"19{random.Next(30, 99)}0{random.Next(1, 10)}{random.Next(10, 29)}" : null,
            Emails = i % 4 == 0 ? [$"mail{random.Next(2000)}@example.com", "zoë@exämple.com"] : [],
            Phones = i % 5 == 0 ? [$"+4915112{random.Next(2000):0000}"] : [],
            ExternalIds = i % 7 == 0 ? [("erp", $"{random.Next(500)}"), ("shop", $"{i}")] : [],
            Addresses = i % 3 == 0 ? [new([$"{random.Next(1, 300)} Elm Road", "Flat B"], "Ware", $"SG{random.Next(40)}"), new([], "Hertford", null)] : [],
        }))];
    }

    private static PackedRecords Packed(IEnumerable<MatchRecord> records)
    {
        var packed = new PackedRecords();
        foreach (var record in records)
        {
            packed.Add(record);
        }

        packed.Complete();
        return packed;
    }

    private static string Everything(MatchRecord r) => System.Text.Json.JsonSerializer.Serialize(
        new { r.Id, r.Organization, r.Given, r.Family, r.FamilyCompact, r.Name, r.NameTokens, r.LegalForm, r.BirthDate, r.Emails, r.Phones, Ids = r.ExternalIds.Select(e => $"{e.System} {e.Value}"), r.Addresses });

    private static List<(int, int)> Pairs(CandidatePairs candidates, IReadOnlyList<MatchRecord> records)
    {
        var pairs = new List<(int, int)>();
        for (var block = 0; block < candidates.Blocks; block++)
        {
            candidates.Visit(block, records, (a, b) =>
            {
                Assert.Equal((records[a.Index].Id, records[b.Index].Id), (a.Record.Id, b.Record.Id));
                pairs.Add((a.Index, b.Index));
            });
        }

        pairs.Sort();
        return pairs;
    }

    private static MatchRecord Person(string given, string family, string? birth, params MatchAddress[] addresses) =>
        MatchRecord.Of(new() { Id = Guid.NewGuid(), GivenName = given, FamilyName = family, BirthDate = birth, Addresses = addresses });

    private static bool MayMergeUnasked(MatchRecord a, MatchRecord b) => MatchModel.MayMergeUnasked(a, b, Model.Compare(a, b));

    private static MatchRecord Organization(string name) => MatchRecord.Of(new() { Id = Guid.NewGuid(), Organization = true, Name = name });
}

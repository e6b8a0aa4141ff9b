using System.Net;
using System.Text.Json.Nodes;
using Crm.Testing;
using static Crm.Testing.JsonCalls;

namespace Contacts.Tests;

/// <summary>Nobody refers themselves, whoever is merged with whom.</summary>
public sealed class SelfReferralTests(DuplicatesFixture fixture) : ScanningTest(fixture), IClassFixture<DuplicatesFixture>
{
    [Fact]
    public async Task Who_was_referred_by_the_absorbed_one_gets_its_source_and_both_have_their_own_after_the_undo()
    {
        var (ada, bob) = (await PersonAsync(), await PersonAsync());
        await ReferAsync(ada, bob);
        var (plan, merge) = await MergeAsync(ada, bob);
        Assert.Equal(("enquiry", bob, "self_referral"), plan);
        Assert.Equal("enquiry", await SourceAsync(ada));
        await UndoAsync(merge);
        Assert.Equal(($"referral {bob} At the fair", "enquiry"), (await SourceAsync(ada), await SourceAsync(bob)));
    }

    [Fact]
    public async Task Who_was_referred_by_the_survivor_does_not_bring_it_its_source()
    {
        var (ada, bob) = (await PersonAsync(), await PersonAsync());
        await ReferAsync(ada, bob);
        var (plan, _) = await MergeAsync(bob, ada);
        Assert.Equal(("enquiry", bob, "survivor"), plan);
        Assert.Equal("enquiry", await SourceAsync(bob));
    }

    [Fact]
    public async Task Of_two_who_referred_each_other_the_survivor_was_referred_by_nobody_who_is_known_until_the_undo()
    {
        var (ada, bob) = (await PersonAsync(), await PersonAsync());
        await ReferAsync(ada, bob);
        await ReferAsync(bob, ada);
        var (plan, merge) = await MergeAsync(ada, bob);
        Assert.Equal(("referral At the fair", ada, "self_referral"), plan);
        Assert.Equal("referral At the fair", await SourceAsync(ada));
        await UndoAsync(merge);
        Assert.Equal(($"referral {bob} At the fair", $"referral {ada} At the fair"), (await SourceAsync(ada), await SourceAsync(bob)));
    }

    [Fact]
    public async Task Of_several_the_first_who_was_referred_by_none_of_them_brings_the_source()
    {
        var (ada, bob, carl, friend) = (await PersonAsync(), await PersonAsync(), await PersonAsync(), await PersonAsync());
        await ReferAsync(ada, bob);
        await ReferAsync(carl, friend);
        // Changed last, so it would be preferred to Carl's.
        await ReferAsync(bob, ada);
        var (plan, merge) = await MergeAsync(ada, bob, carl);
        Assert.Equal(($"referral {friend} At the fair", carl, "self_referral"), plan);
        Assert.Equal($"referral {friend} At the fair", await SourceAsync(ada));
        await UndoAsync(merge);
        Assert.Equal(
            ($"referral {bob} At the fair", $"referral {ada} At the fair", $"referral {friend} At the fair"),
            (await SourceAsync(ada), await SourceAsync(bob), await SourceAsync(carl)));
    }

    [Fact]
    public async Task A_referrer_who_was_absorbed_is_still_named_and_refers_nobody_who_is_merged_with_its_survivor()
    {
        var (ada, bob, carl) = (await PersonAsync(), await PersonAsync(), await PersonAsync());
        await ReferAsync(carl, ada);
        var (_, first) = await MergeAsync(bob, ada);
        Assert.Equal($"referral {ada} At the fair", await SourceAsync(carl));
        var old = await Api.CallAsync($"v1/customers/{ada}", Ct);
        Assert.Equal(((HttpStatusCode)308, $"/v1/customers/{bob}"), (old.Status, old.Headers.Location?.OriginalString));

        var (plan, second) = await MergeAsync(carl, bob);
        Assert.Equal(("enquiry", bob, "self_referral"), plan);
        Assert.Equal("enquiry", await SourceAsync(carl));

        // From then on Ada is somebody else.
        await UndoAsync(first);
        Assert.Equal($"referral {ada} At the fair", await SourceAsync(carl));
        await UndoAsync(second);
        Assert.Equal(($"referral {ada} At the fair", "enquiry", "enquiry"), (await SourceAsync(carl), await SourceAsync(bob), await SourceAsync(ada)));
    }

    [Fact]
    public async Task A_survivor_takes_no_source_that_names_whom_it_absorbed_in_an_earlier_merge()
    {
        var (ada, bob, carl) = (await PersonAsync(), await PersonAsync(), await PersonAsync());
        await ReferAsync(bob, carl);
        await ReferAsync(carl, ada);
        var (before, _) = await MergeAsync(bob, ada);
        Assert.Equal(($"referral {carl} At the fair", bob, "survivor"), before);
        var (plan, merge) = await MergeAsync(bob, carl);
        Assert.Equal(("referral At the fair", bob, "self_referral"), plan);
        Assert.Equal("referral At the fair", await SourceAsync(bob));
        await UndoAsync(merge);
        Assert.Equal(($"referral {carl} At the fair", $"referral {ada} At the fair"), (await SourceAsync(bob), await SourceAsync(carl)));
    }

    [Fact]
    public async Task A_source_that_names_one_of_the_merged_cannot_be_chosen_and_another_one_can()
    {
        var (ada, bob) = (await PersonAsync(), await PersonAsync());
        await ReferAsync(ada, bob);
        foreach (var (survivor, other) in new[] { (ada, bob), (bob, ada) })
        {
            var refused = await PreviewAsync(survivor, [other], Choice(ada));
            Assert.Equal(((HttpStatusCode)422, "unprocessable", "/choices/source same_customer"), (refused.Status, refused.Code, Assert.Single(refused.Errors)));
            Assert.Equal(("enquiry", bob, "chosen"), PlanOf(await OkAsync(PreviewAsync(survivor, [other], Choice(bob)))));
        }

        static string Choice(string customer) => $$$""","choices":{"source":"{{{customer}}}"} """;
    }

    [Fact]
    public async Task Neither_an_edit_nor_a_restored_field_makes_an_absorbed_id_the_referrer_of_its_survivor()
    {
        var (ada, bob) = (await PersonAsync(), await PersonAsync());
        await ReferAsync(ada, bob);
        await MergeAsync(ada, bob);
        var change = Assert.Single((await Api.CallAsync($"v1/customers/{ada}/history?field=source&limit=1", Ct)).Data);
        Assert.Equal("merged", (string?)change["action"]);
        var answers = new[]
        {
            await Api.PatchAsync($"v1/customers/{ada}", $$$"""{"source":{"type":"referral","referrer_id":"{{{bob}}}"}}""", "*", Ct),
            await Api.CallAsync(HttpMethod.Post, $"v1/customers/{ada}/history/{change["id"]}/restore", """{"fields":["source"]}""", [("If-Match", "*")], Ct),
        };
        Assert.All(answers, a => Assert.Equal(
            ((HttpStatusCode)422, "unprocessable", "/source/referrer_id same_customer"), (a.Status, a.Code, Assert.Single(a.Errors))));
        Assert.Equal("enquiry", await SourceAsync(ada));
    }

    private Task<string> PersonAsync() => RecordAsync("Ada", NewName(), NewBirth());

    private Task ReferAsync(string customer, string by) =>
        PatchAsync(customer, $$$"""{"source":{"type":"referral","referrer_id":"{{{by}}}","detail":"At the fair"}}""");

    private Task<JsonAnswer> PreviewAsync(string survivor, string[] others, string choices = "")
    {
        var ids = string.Join(',', others.Select(o => $"\"{o}\""));
        return Api.PostAsync("v1/merge-previews", $$"""{"survivor_id":"{{survivor}}","customer_ids":[{{ids}}]{{choices}} }""", Ct);
    }

    /// <summary>What the preview says of the source, and the merge.</summary>
    private async Task<((string Source, string? From, string? Rule) Plan, string Merge)> MergeAsync(string survivor, params string[] others)
    {
        var preview = await OkAsync(PreviewAsync(survivor, others));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
        return (PlanOf(preview), (string)merge["id"]!);
    }

    private Task UndoAsync(string merge) => OkAsync(Api.PostAsync($"v1/merges/{merge}/undo", """{"reason":"Two persons"}""", Ct));

    private async Task<string> SourceAsync(string customer) => TextOf((await OkAsync(Api.CallAsync($"v1/customers/{customer}", Ct)))["source"]!);

    private static (string Source, string? From, string? Rule) PlanOf(JsonNode preview)
    {
        var source = preview["manifest"]!["fields"]!["source"]!;
        return (TextOf(source["value"]!), (string?)source["from"]![0], (string?)source["rule"]);
    }

    private static string TextOf(JsonNode source) =>
        string.Join(' ', new[] { "type", "referrer_id", "detail" }.Select(member => (string?)source[member]).OfType<string>());
}

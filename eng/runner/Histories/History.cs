using FsCheck;
using FsCheck.Fluent;

namespace Crm.Runner.Histories;

/// <summary>One call that somebody makes. Customers, cases and merges are named by number: of those that there are, by remainder.</summary>
public abstract record Step
{
    public sealed record Edit(int Customer) : Step;

    /// <summary>Of the given name, which all have, and which no merge takes from another one.</summary>
    public sealed record Rename(int Customer) : Step;

    public sealed record Consent(int Customer, bool Granted) : Step;

    public sealed record Order(int Customer) : Step;

    public sealed record Case(int Customer) : Step;

    /// <summary>A message on a case.</summary>
    public sealed record Reply(int To) : Step;

    public sealed record Interaction(int Customer) : Step;

    /// <summary>Of those for whom the two stand; nothing when that is one already.</summary>
    public sealed record Merge(int Survivor, int Absorbed) : Step;

    /// <summary>As <see cref="Merge"/> of up to three at once, and whose values are taken is chosen.</summary>
    public sealed record MergeThree(int Survivor, int First, int Second) : Step;

    /// <summary>Of one of the merges that are not undone.</summary>
    public sealed record Undo(int Which) : Step;

    /// <summary>Time in which some of the messages under way arrive.</summary>
    public sealed record Wait(int Milliseconds) : Step;
}

/// <summary>What happens to a few people of whom some turn out to be one, or not after all.</summary>
public sealed record History(int Customers, IReadOnlyList<Step> Steps)
{
    /// <summary>Two to five customers, six to twenty-four steps.</summary>
    public static Gen<History> Any { get; } =
        from customers in Gen.Choose(2, 5)
        from length in Gen.Choose(6, 24)
        from steps in AnyStep().ArrayOf(length)
        select new History(customers, steps);

    /// <summary>The same for the same seed.</summary>
    public static History Of(int seed) => Any.Sample(1, new Rnd((ulong)seed), 50).Single();

    public override string ToString() => $"{Customers} customers: {string.Join(", ", Steps)}";

    private static Gen<Step> AnyStep()
    {
        var number = Gen.Choose(0, 59);
        return Gen.Frequency(
            (2, number.Select(c => (Step)new Step.Edit(c))),
            (1, number.Select(c => (Step)new Step.Rename(c))),
            (2, from c in number from granted in Gen.Elements(true, false) select (Step)new Step.Consent(c, granted)),
            (3, number.Select(c => (Step)new Step.Order(c))),
            (3, number.Select(c => (Step)new Step.Case(c))),
            (2, number.Select(c => (Step)new Step.Reply(c))),
            (3, number.Select(c => (Step)new Step.Interaction(c))),
            (4, from s in number from a in number select (Step)new Step.Merge(s, a)),
            (1, from s in number from a in number from b in number select (Step)new Step.MergeThree(s, a, b)),
            (3, number.Select(m => (Step)new Step.Undo(m))),
            (1, Gen.Choose(10, 400).Select(ms => (Step)new Step.Wait(ms))));
    }
}

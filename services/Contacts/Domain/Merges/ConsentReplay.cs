namespace Crm.Contacts.Domain.Merges;

/// <summary>
/// What a customer who has absorbed others has consented to: own statements and merges replayed in the order of time; what
/// was recorded before a merge counts before it, even when it dates itself ahead. At a merge the strictest of both sides
/// holds (withdrawn or denied before pending before granted; where nothing was said, the other side's word counts), and of
/// two pauses the longer one; what is said later, under whichever of them, counts again.
/// </summary>
internal static class ConsentReplay
{
    /// <param name="State">Null when only a pause was said.</param>
    internal sealed record Held(ConsentState? State, DateTimeOffset At, Pause? Pause = null);

    /// <param name="At">When it was said.</param>
    internal sealed record Pause(DateTimeOffset Until, DateTimeOffset At);

    /// <param name="layers">Of a customer; null of one who has absorbed nobody.</param>
    /// <param name="statements">Those recorded under a customer, about one channel and purpose.</param>
    /// <returns>Null when nothing was said.</returns>
    public static Held? Of(Guid customer, Func<Guid, FieldLayers?> layers, ILookup<Guid, Consent> statements) =>
        Of(customer, layers, statements, DateTimeOffset.MaxValue);

    /// <param name="until">When it was absorbed itself: what was said since is said by whoever has absorbed it.</param>
    private static Held? Of(Guid customer, Func<Guid, FieldLayers?> layers, ILookup<Guid, Consent> statements, DateTimeOffset until)
    {
        var merges = MergesOf(customer, layers).OrderBy(m => m.At).ThenBy(m => m.MergeId).ToList();
        // By the number of merges after which it was said.
        var said = Under(customer, layers, statements).Where(s => !IsSince(s, until)).OrderBy(s => s.At).ThenBy(s => s.Id)
            .ToLookup(s => merges.Count(m => IsSince(s, m.At)));
        var held = said[0].Aggregate((Held?)null, After);
        foreach (var (merge, number) in merges.Select((m, i) => (m, i + 1)))
        {
            held = merge.Order.Select(m => Of(m, layers, statements, merge.At)).Aggregate(held, (own, other) => Strictest(own, other, merge.At));
            held = said[number].Aggregate(held, After);
        }

        return held;
    }

    /// <summary>The customer's own statements, and those of the absorbed since they were: confirmations of what they had been asked.</summary>
    private static IEnumerable<Consent> Under(Guid customer, Func<Guid, FieldLayers?> layers, ILookup<Guid, Consent> statements) => statements[customer]
        .Concat(MergesOf(customer, layers).SelectMany(m => m.Order.SelectMany(a => Under(a, layers, statements)).Where(s => IsSince(s, m.At))));

    private static IEnumerable<MergeLayer> MergesOf(Guid customer, Func<Guid, FieldLayers?> layers) =>
        (layers(customer)?.Changes ?? []).Select(c => c.Merge).OfType<MergeLayer>();

    private static bool IsSince(Consent said, DateTimeOffset at) => said.RecordedAt > at && said.At > at;

    /// <summary>The later by its own time, as of a customer without merges; what dates itself ahead may be later than what is said after a merge.</summary>
    private static Held? After(Held? held, Consent said)
    {
        if (said.State == ConsentState.Paused)
        {
            return said.At < held?.Pause?.At ? held : new Held(held?.State, held?.At ?? said.At, new(said.PausedUntil!.Value, said.At));
        }

        return held?.State is not null && said.At < held.At ? held : new Held(said.State, said.At, held?.Pause);
    }

    private static Held? Strictest(Held? own, Held? other, DateTimeOffset mergedAt)
    {
        if (own is null || other is null)
        {
            return other is null ? own : other with { At = mergedAt };
        }

        var pause = own.Pause is null || other.Pause?.Until > own.Pause.Until ? other.Pause : own.Pause;
        return Strictness(own.State) >= Strictness(other.State) ? own with { Pause = pause } : new(other.State, mergedAt, pause);
    }

    private static int Strictness(ConsentState? state) => state switch
    {
        null => -1,
        ConsentState.Granted => 0,
        ConsentState.Pending => 1,
        ConsentState.Denied or ConsentState.Withdrawn => 2,
        _ => throw new InvalidOperationException($"{state} has no place among the others."),
    };
}

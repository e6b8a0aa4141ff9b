namespace Crm.Runner;

/// <summary>What is not as it must be after a load: three numbers, and sentences that say what.</summary>
public sealed class Findings
{
    private readonly Lock _gate = new();
    private readonly List<string> _sentences = [];

    /// <summary>Acknowledged, and not there, or not in every database that has to have it.</summary>
    public long Lost { get; private set; }

    /// <summary>There more often than the acknowledged calls allow.</summary>
    public long Double { get; private set; }

    /// <summary>All else: other values than were written, databases that disagree, messages that could not be handled.</summary>
    public long Differences { get; private set; }

    public IReadOnlyList<string> Sentences => _sentences;

    public bool None => Lost + Double + Differences == 0;

    public void AddDifference(string sentence) => Add(0, 0, 1, sentence);

    public void AddDifferences(IEnumerable<string> sentences)
    {
        foreach (var sentence in sentences)
            AddDifference(sentence);
    }

    /// <summary>Nothing when there are none of both.</summary>
    public void Add(long lost, long twice, string sentence) => Add(lost, twice, 0, sentence);

    /// <summary>So many there are and so many there must be; nothing when that is equal.</summary>
    public void Compare(long expected, long actual, string sentence) => Add(Math.Max(0, expected - actual), Math.Max(0, actual - expected), sentence);

    private void Add(long lost, long twice, long differences, string sentence)
    {
        if (lost + twice + differences == 0)
            return;
        lock (_gate)
        {
            (Lost, Double, Differences) = (Lost + lost, Double + twice, Differences + differences);
            _sentences.Add(sentence);
        }
    }
}

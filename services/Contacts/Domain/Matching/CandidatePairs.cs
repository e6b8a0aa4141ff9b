namespace Crm.Contacts.Domain.Matching;

/// <summary>
/// Pairs of records that have a blocking key in common, each once: a pair counts in the block of the smallest key that
/// both have, so nothing need be remembered about pairs already seen.
/// </summary>
internal sealed class CandidatePairs
{
    /// <summary>Larger blocks prove nothing (an office's switchboard, "unknown") and cost the square of their size.</summary>
    public const int LargestBlock = 300;

    /// <summary>What is a rare value depends on how many there are: a fortieth of the records, from 20 to 300.</summary>
    public static int LargestBlockOf(int records) => Math.Clamp(records / 40, 20, LargestBlock);

    private readonly int[] owners;
    private readonly List<(long Key, int Start, int End)> blocks = [];

    // The keys of record r, ascending, without those of blocks that are too large: keysOfRecord[first[r]..first[r + 1]].
    private readonly int[] first;
    private readonly long[] keysOfRecord;

    /// <param name="sortedKeys">Ascending; the key of the record of the same place in <paramref name="owners"/>.</param>
    /// <param name="owners">Records, counted from 0.</param>
    /// <param name="records">How many records there are.</param>
    public CandidatePairs(long[] sortedKeys, int[] owners, int records)
    {
        this.owners = owners;
        var largestBlock = LargestBlockOf(records);
        first = new int[records + 1];
        for (int start = 0, end; start < sortedKeys.Length; start = end)
        {
            for (end = start + 1; end < sortedKeys.Length && sortedKeys[end] == sortedKeys[start]; end++)
            {
            }

            if (end - start > largestBlock)
            {
                OversizeBlocks++;
            }
            else if (end - start > 1)
            {
                blocks.Add((sortedKeys[start], start, end));
                for (var at = start; at < end; at++)
                {
                    first[owners[at] + 1]++;
                }
            }
        }

        for (var record = 0; record < records; record++)
        {
            first[record + 1] += first[record];
        }

        keysOfRecord = new long[first[records]];
        var filled = first[..records];
        foreach (var (key, start, end) in blocks)
        {
            for (var at = start; at < end; at++)
            {
                keysOfRecord[filled[owners[at]]++] = key;
            }
        }
    }

    /// <summary>Blocks of at least two records that are not too large.</summary>
    public int Blocks => blocks.Count;

    /// <summary>Blocks passed over because too many records share their key.</summary>
    public int OversizeBlocks { get; }

    public static CandidatePairs Of(IReadOnlyList<MatchRecord> records)
    {
        var keysOf = records.Select(BlockingKeys.Of).ToArray();
        var keys = new long[keysOf.Sum(k => k.Length)];
        var holders = new int[keys.Length];
        var at = 0;
        for (var record = 0; record < keysOf.Length; record++)
        {
            foreach (var key in keysOf[record])
            {
                (keys[at], holders[at]) = (key, record);
                at++;
            }
        }

        Array.Sort(keys, holders);
        return new(keys, holders, records.Count);
    }

    /// <summary>The pairs of one block, each in the order of the records, that no block of a smaller key has.</summary>
    public void Visit(int block, Action<int, int> pair)
    {
        var (key, start, end) = blocks[block];
        for (var i = start + 1; i < end; i++)
        {
            for (var j = start; j < i; j++)
            {
                var (a, b) = (Math.Min(owners[i], owners[j]), Math.Max(owners[i], owners[j]));
                if (FirstInCommon(a, b) == key)
                {
                    pair(a, b);
                }
            }
        }
    }

    private long FirstInCommon(int a, int b)
    {
        var (i, j) = (first[a], first[b]);
        while (true)
        {
            var (left, right) = (keysOfRecord[i], keysOfRecord[j]);
            if (left == right)
            {
                return left;
            }

            if (left < right)
            {
                i++;
            }
            else
            {
                j++;
            }
        }
    }
}

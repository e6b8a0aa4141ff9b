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

    // Keys are made range by range of their values, so that never all are there at once.
    private const int RecordsOfRange = 250_000;
    private const int RecordsAtOnce = 4096;

    // The records of block b of a range, ascending: owners[starts[b]..starts[b + 1]].
    private readonly List<(int[] Owners, int[] Starts)> ranges = [];
    private readonly int[] firstBlockOfRange;

    // The blocks of record r, ascending: blocksOfRecord[first[r]..first[r + 1]].
    private readonly int[] first;
    private readonly int[] blocksOfRecord;

    private CandidatePairs(IReadOnlyList<MatchRecord> records, int recordsOfRange)
    {
        var count = Math.Clamp(records.Count / recordsOfRange, 1, 16);
        firstBlockOfRange = new int[count + 1];
        first = new int[records.Count + 1];
        var keys = new KeysOfRange(count);
        var largest = LargestBlockOf(records.Count);
        for (var range = 0; range < count; range++)
        {
            keys.Make(records, range);
            var blocks = keys.Blocks(largest, out var oversize);
            OversizeBlocks += oversize;
            ranges.Add(blocks);
            firstBlockOfRange[range + 1] = firstBlockOfRange[range] + blocks.Starts.Length - 1;
            foreach (var owner in blocks.Owners)
            {
                first[owner + 1]++;
            }
        }

        for (var record = 0; record < records.Count; record++)
        {
            first[record + 1] += first[record];
        }

        blocksOfRecord = new int[first[^1]];
        var filled = first[..^1];
        for (var block = 0; block < Blocks; block++)
        {
            foreach (var owner in RecordsOf(block))
            {
                blocksOfRecord[filled[owner]++] = block;
            }
        }
    }

    /// <summary>Blocks of at least two records that are not too large, in the order of their keys.</summary>
    public int Blocks => firstBlockOfRange[^1];

    /// <summary>Blocks passed over because too many records share their key.</summary>
    public int OversizeBlocks { get; }

    public static CandidatePairs Of(IReadOnlyList<MatchRecord> records, int recordsOfRange = RecordsOfRange) => new(records, recordsOfRange);

    /// <summary>The pairs of one block, each in the order of the records, that no block of a smaller key has.</summary>
    public void Visit(int block, Action<int, int> pair)
    {
        var members = RecordsOf(block);
        for (var i = 1; i < members.Length; i++)
        {
            for (var j = 0; j < i; j++)
            {
                if (FirstInCommon(members[j], members[i]) == block)
                {
                    pair(members[j], members[i]);
                }
            }
        }
    }

    /// <summary>The same with the records, of which each is read once at most.</summary>
    public void Visit(int block, IReadOnlyList<MatchRecord> records, Action<(int Index, MatchRecord Record), (int Index, MatchRecord Record)> pair)
    {
        var members = RecordsOf(block);
        var read = new MatchRecord?[members.Length];
        for (var i = 1; i < members.Length; i++)
        {
            for (var j = 0; j < i; j++)
            {
                if (FirstInCommon(members[j], members[i]) == block)
                {
                    pair((members[j], read[j] ??= records[members[j]]), (members[i], read[i] ??= records[members[i]]));
                }
            }
        }
    }

    private ReadOnlySpan<int> RecordsOf(int block)
    {
        var range = 0;
        while (block >= firstBlockOfRange[range + 1])
        {
            range++;
        }

        var (owners, starts) = ranges[range];
        var at = block - firstBlockOfRange[range];
        return owners.AsSpan(starts[at], starts[at + 1] - starts[at]);
    }

    private int FirstInCommon(int a, int b)
    {
        var (i, j) = (first[a], first[b]);
        while (true)
        {
            var (left, right) = (blocksOfRecord[i], blocksOfRecord[j]);
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

    /// <summary>All keys that lie in one range, each with its record; the buffers serve the next range too.</summary>
    private sealed class KeysOfRange(int ranges)
    {
        private readonly Lock gate = new();
        private long[] keys = [];
        private int[] holders = [];
        private int count;

        public void Make(IReadOnlyList<MatchRecord> records, int range)
        {
            count = 0;
            Parallel.For(0, (records.Count + RecordsAtOnce - 1) / RecordsAtOnce, some =>
            {
                var mine = new List<(long Key, int Record)>();
                for (var record = some * RecordsAtOnce; record < Math.Min(records.Count, (some + 1) * RecordsAtOnce); record++)
                {
                    foreach (var key in BlockingKeys.Of(records[record]))
                    {
                        if (RangeOf(key) == range)
                        {
                            mine.Add((key, record));
                        }
                    }
                }

                lock (gate)
                {
                    Append(mine);
                }
            });
            Array.Sort(keys, holders, 0, count);
        }

        public (int[] Owners, int[] Starts) Blocks(int largest, out int oversize)
        {
            var (blocks, members) = (0, 0);
            oversize = 0;
            foreach (var (start, end) in Runs())
            {
                oversize += end - start > largest ? 1 : 0;
                (blocks, members) = end - start <= largest ? (blocks + 1, members + end - start) : (blocks, members);
            }

            var (owners, starts) = (new int[members], new int[blocks + 1]);
            (blocks, members) = (0, 0);
            foreach (var (start, end) in Runs())
            {
                if (end - start <= largest)
                {
                    holders.AsSpan(start, end - start).CopyTo(owners.AsSpan(members));
                    owners.AsSpan(members, end - start).Sort();
                    members += end - start;
                    starts[++blocks] = members;
                }
            }

            return (owners, starts);
        }

        /// <summary>Where two records or more have one key.</summary>
        private IEnumerable<(int Start, int End)> Runs()
        {
            for (int start = 0, end; start < count; start = end)
            {
                for (end = start + 1; end < count && keys[end] == keys[start]; end++)
                {
                }

                if (end - start > 1)
                {
                    yield return (start, end);
                }
            }
        }

        private int RangeOf(long key) => (int)Math.BigMul(unchecked((ulong)key) ^ (1UL << 63), (ulong)ranges, out _);

        private void Append(List<(long Key, int Record)> some)
        {
            if (count + some.Count > keys.Length)
            {
                var length = Math.Max(count + some.Count, keys.Length + (keys.Length / 4));
                Array.Resize(ref keys, length);
                Array.Resize(ref holders, length);
            }

            foreach (var (key, record) in some)
            {
                (keys[count], holders[count]) = (key, record);
                count++;
            }
        }
    }
}

using System.Diagnostics;

namespace Crm.Testing;

/// <summary>What is true soon: effects of events.</summary>
public static class Eventually
{
    /// <summary>Asks again until the answer satisfies the condition; after the limit (20 s) fails with the last answer.</summary>
    public static async Task<T> GetAsync<T>(Func<Task<T>> ask, Func<T, bool> until, TimeSpan? limit = null, CancellationToken ct = default)
    {
        var start = Stopwatch.GetTimestamp();
        while (true)
        {
            var answer = await ask();
            if (until(answer))
            {
                return answer;
            }

            if (Stopwatch.GetElapsedTime(start) > (limit ?? TimeSpan.FromSeconds(20)))
            {
                throw new TimeoutException($"Still {answer}");
            }

            await Task.Delay(50, ct);
        }
    }
}

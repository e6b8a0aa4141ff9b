using System.Collections;
using System.Diagnostics;
using System.Text.Json.Nodes;

namespace Crm.Testing;

/// <summary>What is true soon: effects of events.</summary>
public static class Eventually
{
    /// <summary>
    /// Asks again until the answer satisfies the condition; after the limit (60 s, of which a green run takes nothing) fails
    /// with the last answer. A call that reached nobody, or timed out, is no answer yet: it is made again, and the last of
    /// them is the inner exception.
    /// </summary>
    public static async Task<T> GetAsync<T>(Func<Task<T>> ask, Func<T, bool> until, TimeSpan? limit = null, CancellationToken ct = default)
    {
        var most = limit ?? TimeSpan.FromSeconds(60);
        var start = Stopwatch.GetTimestamp();
        while (true)
        {
            string state;
            Exception? failure = null;
            try
            {
                var answer = await ask();
                if (until(answer))
                {
                    return answer;
                }

                state = Text(answer);
            }
            // A client's timeout is told from the token's end by what it carries.
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException { InnerException: TimeoutException })
            {
                state = $"without an answer: {e.Message}";
                failure = e;
            }

            if (Stopwatch.GetElapsedTime(start) > most)
            {
                throw new TimeoutException($"After {most.TotalSeconds} s still {state}", failure);
            }

            await Task.Delay(50, ct);
        }
    }

    private static string Text(object? answer) => answer switch
    {
        null => "null",
        string text => text,
        JsonNode json => json.ToJsonString(),
        IEnumerable items => $"[{string.Join(", ", items.Cast<object?>().Select(Text))}]",
        _ => answer.ToString() ?? "",
    };
}

using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Crm.Runner;

/// <summary>A place with personal data in it: a table as <c>service table</c>, a queue, or a log file.</summary>
public sealed record PersonalDataHit(string Place, long Hits);

/// <summary>
/// Looks for values in every table of every service, in the broker's queues and in the logs of all processes. A message
/// that a running consumer has in its hands is in no queue: search again once it is done.
/// </summary>
public static class PersonalDataSearch
{
    /// <param name="values">At least four characters each. They are handed on by a file that only this user can read.</param>
    public static async Task<IReadOnlyList<PersonalDataHit>> FindAsync(Platform platform, IReadOnlyCollection<string> values, CancellationToken ct = default)
    {
        var file = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        try
        {
            await using (var stream = new FileStream(file, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
                await stream.WriteAsync(Encoding.UTF8.GetBytes(string.Join('\n', values)), ct);
            var hits = new List<PersonalDataHit>();
            foreach (var service in platform.Services.Values)
            {
                var result = await service.RunModeAsync(["--find-personal-data", file], ct);
                if (result.ExitCode is not (0 or 1))
                    throw new RunnerException($"{service.Name} could not be searched:\n{result.Output}", "Nothing was changed.");
                foreach (var line in result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
                {
                    // A line of a log is no hit.
                    if (line.Split('\t') is [var place, var count] && long.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out var found))
                        hits.Add(new($"{service.Name} {place}", found));
                    else
                        throw new RunnerException($"{service.Name} could not be searched:\n{result.Output}", "Nothing was changed.");
                }
            }

            return [.. hits, .. await SearchLogsAsync(Path.GetDirectoryName(platform.LogFile("x"))!, values, ct)];
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static async Task<List<PersonalDataHit>> SearchLogsAsync(string folder, IReadOnlyCollection<string> values, CancellationToken ct)
    {
        var spellings = values.SelectMany(v => new[] { v, JsonEncodedText.Encode(v).ToString(), JsonEncodedText.Encode(v, JavaScriptEncoder.UnsafeRelaxedJsonEscaping).ToString() }).Distinct().ToArray();
        var hits = new List<PersonalDataHit>();
        foreach (var log in Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal))
        {
            long found = 0;
            // Whoever writes the log goes on.
            await using var stream = new FileStream(log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            using var reader = new StreamReader(stream);
            while (await reader.ReadLineAsync(ct) is { } line)
                found += spellings.Any(s => line.Contains(s, StringComparison.OrdinalIgnoreCase)) ? 1 : 0;
            if (found > 0)
                hits.Add(new($"logs/{Path.GetFileName(log)}", found));
        }

        return hits;
    }
}

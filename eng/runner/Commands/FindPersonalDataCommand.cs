namespace Crm.Runner.Commands;

/// <summary>Where the platform that <c>./crm up</c> started has these values: in a file, or on standard input, a value a line; never in the arguments, which every user of the machine sees.</summary>
internal static class FindPersonalDataCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        if (args is not ([] or [_]))
            throw new RunnerException("find-personal-data takes one file at most.", "Write: ./crm find-personal-data values.txt, or give the values on standard input, one a line.");

        var text = args is [var file] ? await File.ReadAllTextAsync(file, ct) : await Console.In.ReadToEndAsync(ct);
        var root = Topology.FindRoot();
        using var installation = Installation.Look(root);
        var platform = EveryService.Running(root, installation);
        var hits = await PersonalDataSearch.FindAsync(platform, text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries), ct);
        foreach (var hit in hits)
            Console.WriteLine($"{hit.Hits}\t{hit.Place}");
        Console.WriteLine(hits.Count == 0 ? "nowhere" : $"found in {hits.Count} places");
        return hits.Count == 0 ? 0 : 1;
    }
}

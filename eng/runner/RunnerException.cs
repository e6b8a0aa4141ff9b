namespace Crm.Runner;

/// <summary>Something that the user can mend: what is wrong, and what to do about it.</summary>
public sealed class RunnerException(string problem, string remedy) : Exception($"{problem} {remedy}")
{
    public string Problem { get; } = problem;

    public string Remedy { get; } = remedy;
}

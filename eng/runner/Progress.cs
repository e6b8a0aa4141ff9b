using System.Diagnostics;
using System.Globalization;

namespace Crm.Runner;

/// <summary>Lines such as "  7.2 s  rabbitmq       ready on 127.0.0.1:56729".</summary>
public sealed class Progress
{
    private readonly long _start = Stopwatch.GetTimestamp();

    public void Step(string name, string text) =>
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Stopwatch.GetElapsedTime(_start).TotalSeconds,6:0.0} s  {name,-14} {text}"));
}

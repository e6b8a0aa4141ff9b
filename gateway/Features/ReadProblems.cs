using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Gateway.Features;

/// <summary>The error catalogue: where the <c>type</c> of every problem leads.</summary>
internal static class ReadProblems
{
    private static readonly Catalogue All = new([.. ProblemCodes.All.Select(Entry.Of)]);

    public static Ok<Catalogue> List() => TypedResults.Ok(All);

    public static Ok<Entry> One(string code) => TypedResults.Ok(
        All.Data.FirstOrDefault(e => e.Code == code) ?? throw ProblemException.NotFound("problem code"));

    public sealed record Catalogue(IReadOnlyList<Entry> Data);

    /// <param name="Type">What problems carry as <c>type</c>.</param>
    /// <param name="Retryable">Whether the same request may succeed later.</param>
    public sealed record Entry(string Type, string Code, int Status, string Title, bool Retryable)
    {
        internal static Entry Of(ProblemCode code) => new($"/problems/{code.Code}", code.Code, code.Status, code.Title, code.Retryable);
    }
}

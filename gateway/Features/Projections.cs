using Crm.Contracts;
using Crm.Gateway.Authentication;
using Crm.Hosting.Rpc;
using Crm.Hosting.Web;
using Grpc.Core;
using Grpc.Net.ClientFactory;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Wire = Crm.Contracts.Rebuilds.V1;

namespace Crm.Gateway.Features;

/// <summary>What services keep of the rows of others, and its rebuilds: each is asked of the service whose it is.</summary>
internal sealed class Projections(GrpcClientFactory clients, CallerTokens tokens, TimeProvider clock)
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(5);

    public static async Task<Ok<Page<ProjectionView>>> List(HttpContext http, Projections projections, CancellationToken ct)
    {
        var services = await Task.WhenAll(ProjectionCatalog.All.GroupBy(p => p.Service, StringComparer.Ordinal).Select(g => projections.AskAsync(g.Key, [.. g], http, ct)));
        return TypedResults.Ok(new Page<ProjectionView>([.. services.SelectMany(s => s)], HasMore: false, NextCursor: null));
    }

    public static async Task<Accepted<RebuildView>> Start(string projection, HttpContext http, Projections projections, CancellationToken ct)
    {
        var found = Find(projection);
        var answer = await CallAsync(
            () => projections.Client(found).StartRebuildAsync(new() { Projection = found.Name }, projections.Options(http, ct)).ResponseAsync);
        var view = RebuildView.Of(found, answer.Rebuild);
        return answer.Started
            ? TypedResults.Accepted($"/v1/projections/{found.Id}/rebuilds/{view.Id}", view)
            : throw new ProblemException(ProblemCodes.Conflict, "A rebuild of this projection is running.")
            {
                Extensions = new Dictionary<string, object?>(StringComparer.Ordinal) { ["existing_id"] = view.Id },
            };
    }

    public static async Task<Ok<RebuildView>> Read(string projection, string id, HttpContext http, Projections projections, CancellationToken ct)
    {
        var found = Find(projection);
        var rebuild = await CallAsync(
            () => projections.Client(found).GetRebuildAsync(new() { Projection = found.Name, Id = id }, projections.Options(http, ct)).ResponseAsync);
        return TypedResults.Ok(RebuildView.Of(found, rebuild));
    }

    private static Projection Find(string id) => ProjectionCatalog.Find(id) ?? throw ProblemException.NotFound("projection");

    private Wire.Rebuilds.RebuildsClient Client(Projection projection) => clients.CreateClient<Wire.Rebuilds.RebuildsClient>(projection.Service);

    private CallOptions Options(HttpContext http, CancellationToken ct) => new(
        new Metadata { { "authorization", $"Bearer {tokens.For(http.Features.GetRequiredFeature<Caller>())}" } }, (clock.GetUtcNow() + Deadline).UtcDateTime, ct);

    /// <summary>The projections of one service; when it does not answer, they are listed all the same.</summary>
    private async Task<IEnumerable<ProjectionView>> AskAsync(string service, IReadOnlyList<Projection> projections, HttpContext http, CancellationToken ct)
    {
        try
        {
            var list = await clients.CreateClient<Wire.Rebuilds.RebuildsClient>(service).ListProjectionsAsync(new(), Options(http, ct));
            return projections.Select(p => new ProjectionView(
                p.Id, p.Service, p.Sources, Available: true,
                list.Projections.FirstOrDefault(l => l.Name == p.Name)?.LastRebuild is { } last ? RebuildView.Of(p, last) : null));
        }
        catch (RpcException) when (!ct.IsCancellationRequested)
        {
            return projections.Select(p => new ProjectionView(p.Id, p.Service, p.Sources, Available: false, LastRebuild: null));
        }
    }

    private static async Task<T> CallAsync<T>(Func<Task<T>> call)
    {
        try
        {
            return await call();
        }
        catch (RpcException exception) when (exception.StatusCode == StatusCode.NotFound)
        {
            throw ProblemException.NotFound("rebuild");
        }
        catch (RpcException exception) when (exception.StatusCode != StatusCode.Cancelled)
        {
            throw new ProblemException(ProblemCodes.Unavailable, "The service of this projection cannot be reached; try again.") { RetryAfter = 1 };
        }
    }
}

internal static class ProjectionServices
{
    private static readonly (string Service, string Peer)[] Peers =
        [("interactions", "Interactions"), ("campaigns", "Campaigns"), ("billing-sync", "BillingSync"), ("support", "Support")];

    public static void AddProjections(this WebApplicationBuilder builder)
    {
        foreach (var (service, peer) in Peers)
        {
            builder.AddCrmGrpcClientNamed<Wire.Rebuilds.RebuildsClient>(peer, "crm.rebuilds.v1.Rebuilds", service, "ListProjections", "GetRebuild");
        }

        builder.Services.AddSingleton<Projections>();
    }
}

/// <param name="Id">The service and the queue that keeps it up to date.</param>
/// <param name="Sources">The owners of the rows and what they call them, in the order in which a rebuild takes them.</param>
/// <param name="Available">False when its service does not answer: then it is not known whether it was ever rebuilt.</param>
/// <param name="LastRebuild">Null without any.</param>
public sealed record ProjectionView(string Id, string Service, IReadOnlyList<string> Sources, bool Available, RebuildView? LastRebuild);

/// <param name="State"><c>running</c>, <c>completed</c>, or <c>failed</c> after twenty failures in a row.</param>
/// <param name="Error">Of the last try, while it is tried again or when it was given up; null otherwise.</param>
/// <param name="Repaired">Rows that were missing, older than the owner's, or of its version with something else in them.</param>
/// <param name="Removed">Rows that the owner does not have. Of the copy of customers these are tiers, grants (which end), and what the erased had: Contacts deletes no customers.</param>
public sealed record RebuildView(
    string Id,
    string Projection,
    string State,
    string? Error,
    string RequestedBy,
    DateTimeOffset StartedAt,
    DateTimeOffset? FinishedAt,
    long Repaired,
    long Removed,
    IReadOnlyList<RebuildSourceView> Sources)
{
    internal static RebuildView Of(Projection projection, Wire.Rebuild rebuild) => new(
        rebuild.Id, projection.Id, rebuild.State, rebuild.Error.OrNull(), rebuild.RequestedBy, rebuild.StartedAt.ToDateTimeOffset(), rebuild.FinishedAt.OrNull(),
        rebuild.Sources.Sum(s => s.Repaired), rebuild.Sources.Sum(s => s.Removed),
        [.. rebuild.Sources.Select(s => new RebuildSourceView(
            s.Source, s.Rows, s.EstimatedRows == 0 ? null : s.EstimatedRows, s.Repaired, s.Removed, s.StartedAt.OrNull(), s.FinishedAt.OrNull()))]);
}

/// <param name="Rows">That its owner has sent until now.</param>
/// <param name="EstimatedRows">All rows of it, as the database's statistics have it; null when it is not known.</param>
/// <param name="FinishedAt">Null until it has sent all.</param>
public sealed record RebuildSourceView(
    string Source, long Rows, long? EstimatedRows, long Repaired, long Removed, DateTimeOffset? StartedAt, DateTimeOffset? FinishedAt);

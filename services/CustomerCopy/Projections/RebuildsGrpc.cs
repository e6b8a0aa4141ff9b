using System.ComponentModel.DataAnnotations.Schema;
using System.Text.Json;
using Crm.Contracts;
using Crm.Hosting;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Rpc;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Wire = Crm.Contracts.Rebuilds.V1;

namespace Crm.CustomerCopy.Projections;

/// <summary>Both sides of a rebuild: the service whose projection it is, and the owner of the rows.</summary>
internal sealed class RebuildsGrpc(CustomerCopyDb db, ServiceName service, TimeProvider clock) : Wire.Rebuilds.RebuildsBase
{
    /// <summary>That are told at once.</summary>
    public const int MostRows = 500;

    [Callers(Scope = Scopes.KeysAdmin)]
    public override async Task<Wire.ProjectionList> ListProjections(Wire.ListProjectionsRequest request, ServerCallContext context)
    {
        var list = new Wire.ProjectionList();
        foreach (var projection in ProjectionCatalog.Of(service.Value))
        {
            var last = await FindLastAsync(projection.Name, context.CancellationToken);
            list.Projections.Add(new Wire.Projection { Name = projection.Name, LastRebuild = last is [var id] ? await ReadAsync(projection.Name, id, context.CancellationToken) : null });
        }

        return list;
    }

    [Callers(Scope = Scopes.KeysAdmin)]
    public override async Task<Wire.StartedRebuild> StartRebuild(Wire.StartRebuildRequest request, ServerCallContext context)
    {
        var ct = context.CancellationToken;
        var projection = ProjectionCatalog.Of(service.Value).FirstOrDefault(p => p.Name == request.Projection)
            ?? throw new RpcException(new Status(StatusCode.NotFound, "There is no such projection."));
        var (id, now, actor) = (Guid.CreateVersion7(clock.GetUtcNow()), clock.GetUtcNow(), db.Actor());
        await using var transaction = await db.Database.BeginTransactionAsync(ct);
        var started = await db.Database.ExecuteSqlAsync($"""
            INSERT INTO rebuilds (id, projection, requested_by, started_at) VALUES ({id}, {projection.Name}, {actor}, {now})
            ON CONFLICT (projection) WHERE state = 'running' DO NOTHING
            """, ct) == 1;
        if (!started)
        {
            return new() { Started = false, Rebuild = await ReadAsync(projection.Name, (await FindLastAsync(projection.Name, ct))[0], ct) };
        }

        string[] sources = [.. projection.Sources];
        await db.Database.ExecuteSqlAsync($"""
            INSERT INTO rebuild_sources (rebuild_id, number, source) SELECT {id}, number, source FROM unnest({sources}) WITH ORDINALITY AS s (source, number)
            """, ct);
        db.Audit("started", "rebuild", id, customerId: null, AuditChanges.Between(null, new Started(projection.Id)));
        await db.SaveChangesAsync(ct);
        await transaction.CommitAsync(ct);
        return new() { Started = true, Rebuild = await ReadAsync(projection.Name, id, ct) };
    }

    [Callers(Scope = Scopes.KeysAdmin)]
    public override async Task<Wire.Rebuild> GetRebuild(Wire.GetRebuildRequest request, ServerCallContext context) =>
        (Ids.Rebuild.TryParse(request.Id, out var id) ? await ReadAsync(request.Projection, id, context.CancellationToken) : null)
            ?? throw new RpcException(new Status(StatusCode.NotFound, "There is no such rebuild."));

    [Callers("interactions")]
    public override async Task<Wire.RowPage> ReadRows(Wire.ReadRowsRequest request, ServerCallContext context)
    {
        var ct = context.CancellationToken;
        var rows = db.Replayed.FirstOrDefault(r => r.Event == request.Event)
            ?? throw new RpcException(new Status(StatusCode.InvalidArgument, "No rows here are told by such an event."));
        if (request.Ids.Count > MostRows || request.Limit > MostRows)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, $"At most {MostRows} rows."));
        }

        var (after, ids) = (request.After.Length == 0 ? Guid.Empty : Uuid(request.After), request.Ids.Select(Uuid).ToList());
        var found = ids.Count > 0 ? await rows.ReadAsync(ids, ct) : await rows.ReadAsync(after, request.Limit, ct);
        var page = new Wire.RowPage { EstimatedRows = await db.EstimateRowsAsync(rows.Table, ct) };
        page.Untold.AddRange((ids.Count > 0 ? await rows.ReadUntoldAsync(ids, ct) : []).Select(i => i.ToString()));
        page.Rows.AddRange(found.Select(r => new Wire.Row
        {
            Id = r.Id.ToString(),
            EventJson = JsonSerializer.Serialize(r.Event, r.Event.GetType(), EventJson.Options),
            AsOfNow = r.AsOfNow,
        }));
        return page;
    }

    private static Guid Uuid(string text) =>
        Guid.TryParse(text, out var id) ? id : throw new RpcException(new Status(StatusCode.InvalidArgument, "Not a UUID."));

    /// <summary>The newest of the projection; none without any.</summary>
    private Task<List<Guid>> FindLastAsync(string projection, CancellationToken ct) =>
        db.Database.SqlQuery<Guid>($"SELECT id AS \"Value\" FROM rebuilds WHERE projection = {projection} ORDER BY id DESC LIMIT 1").ToListAsync(ct);

    private async Task<Wire.Rebuild?> ReadAsync(string projection, Guid id, CancellationToken ct)
    {
        var found = await db.Database.SqlQuery<RebuildRow>($"""
            SELECT state, error, requested_by, started_at, finished_at FROM rebuilds WHERE id = {id} AND projection = {projection}
            """).ToListAsync(ct);
        if (found is not [var row])
        {
            return null;
        }

        var rebuild = new Wire.Rebuild
        {
            Id = Ids.Rebuild.Format(id),
            State = row.State,
            Error = row.Error ?? "",
            RequestedBy = row.RequestedBy,
            StartedAt = Timestamp.FromDateTimeOffset(row.StartedAt),
            FinishedAt = Instant(row.FinishedAt),
        };
        var sources = await db.Database.SqlQuery<SourceProgressRow>($"""
            SELECT source, row_count, estimated_rows, repaired, removed, started_at, finished_at FROM rebuild_sources WHERE rebuild_id = {id} ORDER BY number
            """).ToListAsync(ct);
        rebuild.Sources.AddRange(sources.Select(s => new Wire.SourceProgress
        {
            Source = s.Source,
            Rows = s.RowCount,
            EstimatedRows = s.EstimatedRows ?? 0,
            Repaired = s.Repaired,
            Removed = s.Removed,
            StartedAt = Instant(s.StartedAt),
            FinishedAt = Instant(s.FinishedAt),
        }));
        return rebuild;
    }

    private static Timestamp? Instant(DateTimeOffset? at) => at is { } instant ? Timestamp.FromDateTimeOffset(instant) : null;

    /// <summary>What the history says of it.</summary>
    private sealed record Started(string Projection);

    private sealed record RebuildRow(
        [property: Column("state")] string State,
        [property: Column("error")] string? Error,
        [property: Column("requested_by")] string RequestedBy,
        [property: Column("started_at")] DateTimeOffset StartedAt,
        [property: Column("finished_at")] DateTimeOffset? FinishedAt);

    private sealed record SourceProgressRow(
        [property: Column("source")] string Source,
        [property: Column("row_count")] long RowCount,
        [property: Column("estimated_rows")] long? EstimatedRows,
        [property: Column("repaired")] long Repaired,
        [property: Column("removed")] long Removed,
        [property: Column("started_at")] DateTimeOffset? StartedAt,
        [property: Column("finished_at")] DateTimeOffset? FinishedAt);
}

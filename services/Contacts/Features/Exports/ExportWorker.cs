using Crm.Contacts.Domain.Exports;
using Crm.Contracts;
using Crm.Contracts.PersonalData.V1;
using Crm.Hosting;
using Crm.Hosting.Data;
using Crm.Hosting.Erasure;
using Crm.Hosting.Rpc;
using Grpc.Core;
using Grpc.Net.ClientFactory;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Exports;

/// <summary>After an export is asked for.</summary>
internal sealed class ExportSignal : WakeSignal;

/// <summary>
/// Makes archives: a part a transaction with its receipt, so that a crash costs one part; a part that fails, or whose service is
/// away, is tried again after the other exports. Replicas divide parts by row locks. What has expired is deleted.
/// </summary>
internal sealed partial class ExportWorker(IServiceScopeFactory scopes, ExportSignal signal, GrpcClientFactory clients, TimeProvider clock, ILogger<ExportWorker> logger)
    : RepeatedWork(TimeSpan.FromSeconds(2), clock, logger, signal)
{
    private const int Batch = 1000;
    private const string Own = "contacts";

    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);
    private static readonly (string, string)[] Columns = [("export_id", "uuid"), ("service", "text"), ("list", "text"), ("n", "bigint"), ("body", "jsonb")];

    private static readonly (string Service, string Peer)[] Peers =
        [("interactions", "Interactions"), ("campaigns", "Campaigns"), ("billing-sync", "BillingSync"), ("support", "Support")];

    protected override TimeSpan PauseAfterFailure => Pause;

    public static void Add(IHostApplicationBuilder builder)
    {
        foreach (var (service, peer) in Peers)
        {
            builder.AddCrmGrpcClientNamed<PersonalData.PersonalDataClient>(peer, "crm.personal_data.v1.PersonalData", $"export {service}");
        }

        builder.Services.AddSettings<ExportOptions>("Exports");
        builder.Services.AddSingleton<ExportSignal>();
        builder.Services.AddHostedService<ExportWorker>();
    }

    protected override async Task RunAsync(CancellationToken ct)
    {
        while (await StepAsync(ct))
        {
        }
    }

    /// <summary>All parts of one export that can be had now; false when there is nothing to do.</summary>
    private async Task<bool> StepAsync(CancellationToken ct)
    {
        if (await NextAsync(ct) is not { } next)
        {
            return false;
        }

        foreach (var service in next.Missing)
        {
            try
            {
                await MakeAsync(next.Id, service, ct);
            }
            catch (RpcException exception) when (!ct.IsCancellationRequested)
            {
                LogMissing(Ids.Export.Format(next.Id), service, exception.StatusCode);
            }
            catch (Exception exception) when (!ct.IsCancellationRequested)
            {
                LogFailed(exception, Ids.Export.Format(next.Id), service);
            }
        }

        return true;
    }

    /// <summary>The export that has waited longest; whatever becomes of its parts, the others come before it is tried again.</summary>
    private async Task<Export?> NextAsync(CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<ContactsDb>();
        return await db.InTransactionAsync(async () =>
        {
            var now = Clock.GetUtcNow();
            await db.Database.ExecuteSqlAsync($"DELETE FROM export_rows WHERE export_id IN (SELECT id FROM exports WHERE expires_at <= {now})", ct);
            var found = await db.Exports
                .ForUpdate($"status = 'running' AND next_at <= {now} ORDER BY next_at LIMIT 1", skipLocked: true).Include(e => e.Parts).ToListAsync(ct);
            if (found is not [var export])
            {
                return null;
            }

            export.Wait(now + Pause);
            await db.SaveChangesAsync(ct);
            return export;
        }, ct);
    }

    /// <summary>One part and its receipt, unless another replica is at it or has made it.</summary>
    private async Task MakeAsync(Guid id, string service, CancellationToken ct)
    {
        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<ContactsDb>();
        await using var transaction = await db.Database.BeginTransactionAsync(ct);
        var found = await db.Exports.ForUpdate($"id = {id}", skipLocked: true).Include(e => e.Parts).ToListAsync(ct);
        if (found is [var export] && export.Missing.Contains(service, StringComparer.Ordinal))
        {
            export.Take(service, await WriteAsync(db, export, service, ct), Clock.GetUtcNow());
            await db.SaveChangesAsync(ct);
        }

        await transaction.CommitAsync(ct);
    }

    private async Task<Dictionary<string, long>> WriteAsync(ContactsDb db, Export export, string service, CancellationToken ct)
    {
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        var batch = new List<object?[]>(Batch);
        await foreach (var (list, row) in ReadAsync(export, service, ct))
        {
            var n = counts[list] = counts.GetValueOrDefault(list) + 1;
            batch.Add([export.Id, service, list, n, row]);
            if (batch.Count == Batch)
            {
                await FlushAsync();
            }
        }

        await FlushAsync();
        return counts;

        async Task FlushAsync()
        {
            await db.CopyAsync("export_rows", Columns, batch, ct);
            batch.Clear();
        }
    }

    private async IAsyncEnumerable<(string List, string Row)> ReadAsync(Export export, string service, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken ct)
    {
        if (service == Own)
        {
            await using var scope = scopes.CreateAsyncScope();
            var ids = export.CustomerIds.ToArray();
            await foreach (var row in scope.ServiceProvider.GetRequiredService<ContactsDb>().ReadPersonAsync(ids, ids, ct))
            {
                yield return row;
            }

            yield break;
        }

        var request = new ExportRequest();
        request.CustomerIds.AddRange(export.CustomerIds.Select(id => Ids.Customer.Format(id)));
        using var stream = clients.CreateClient<PersonalData.PersonalDataClient>($"export {service}").Export(request, cancellationToken: ct);
        await foreach (var row in stream.ResponseStream.ReadAllAsync(ct))
        {
            yield return (row.Table, row.RowJson);
        }
    }

    [LoggerMessage(LogLevel.Warning, "Export {Id} waits for {Service} ({StatusCode})")]
    private partial void LogMissing(string id, string service, StatusCode statusCode);

    [LoggerMessage(LogLevel.Error, "Part {Service} of export {Id} failed")]
    private partial void LogFailed(Exception exception, string id, string service);
}

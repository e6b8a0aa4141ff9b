using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Erasure;
using Crm.Hosting.Rpc;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Wire = Crm.Contracts.PersonalData.V1;

namespace Crm.CustomerCopy;

/// <summary>What this service knows of a person, for Contacts' archive of it, and since when it has had nothing to do with one.</summary>
internal sealed class PersonalDataGrpc(CustomerCopyDb db) : Wire.PersonalData.PersonalDataBase
{
    private const int Most = 1000;

    [Callers("contacts")]
    public override async Task<Wire.Uses> FindUses(Wire.FindUsesRequest request, ServerCallContext context)
    {
        if (request.CustomerIds.Count > Most)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, $"At most {Most} customers."));
        }

        var ids = request.CustomerIds.Select(id => GrpcIds.Parse(Ids.Customer, id, "customer")).ToArray();
        // A customer may have very many rows.
        using var unhurried = db.AllowLongStatements();
        var uses = new Wire.Uses();
        foreach (var use in await db.ReadUsesAsync(ids, context.CancellationToken))
        {
            var told = new Wire.CustomerUse { CustomerId = Ids.Customer.Format(use.CustomerId), LastUsedAt = use.At is { } at ? Timestamp.FromDateTimeOffset(at) : null };
            told.Open.AddRange(use.Open);
            uses.Customers.Add(told);
        }

        return uses;
    }

    [Callers("contacts")]
    public override async Task Export(Wire.ExportRequest request, IServerStreamWriter<Wire.PersonalRow> responseStream, ServerCallContext context)
    {
        var ct = context.CancellationToken;
        var ids = request.CustomerIds.Select(id => GrpcIds.Parse(Ids.Customer, id, "customer")).ToArray();
        var owners = await db.Database.SqlQuery<Guid>($"SELECT DISTINCT customer_root(id) AS \"Value\" FROM unnest({ids}) AS id").ToArrayAsync(ct);
        await foreach (var (table, row) in db.ReadPersonAsync(ids, owners, ct))
        {
            await responseStream.WriteAsync(new Wire.PersonalRow { Table = table, RowJson = row }, ct);
        }
    }
}

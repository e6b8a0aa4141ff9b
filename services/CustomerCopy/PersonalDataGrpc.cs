using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Erasure;
using Crm.Hosting.Rpc;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Wire = Crm.Contracts.PersonalData.V1;

namespace Crm.CustomerCopy;

/// <summary>What this service knows of a person, for Contacts' archive of it.</summary>
internal sealed class PersonalDataGrpc(CustomerCopyDb db) : Wire.PersonalData.PersonalDataBase
{
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

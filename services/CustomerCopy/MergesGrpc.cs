using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Rpc;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Wire = Crm.Contracts.Merges.V1;

namespace Crm.CustomerCopy;

/// <summary>What a merge or a removal of customers would mean to this service, for Contacts.</summary>
internal sealed class MergesGrpc(CustomerCopyDb db) : Wire.Merges.MergesBase
{
    private const int MostCustomers = 1000;

    [Callers("contacts")]
    public override async Task<Wire.Impact> GetImpact(Wire.GetImpactRequest request, ServerCallContext context)
    {
        var ct = context.CancellationToken;
        var survivor = GrpcIds.Parse(Ids.Customer, request.SurvivorId, "customer");
        var absorbed = request.AbsorbedIds.Select(a => GrpcIds.Parse(Ids.Customer, a, "customer")).ToArray();
        var impact = new Wire.Impact();
        foreach (var owned in db.OwnedRows)
        {
            // Rows of several absorbed customers that are alike collide with one another too.
            var collide = owned.Alike is null ? "0::bigint" : $"""
                (SELECT coalesce(sum(rows - greatest(1, of_survivor)), 0)::bigint FROM (
                    SELECT count(*) AS rows, count(*) FILTER (WHERE customer_id = @survivor) AS of_survivor
                    FROM {owned.Table} WHERE customer_id = ANY (@absorbed) OR customer_id = @survivor GROUP BY {owned.Alike}) AS alike)
                """;
#pragma warning disable EF1002, EF1003 // Names of tables and columns are the service's own.
            var counted = await db.Database.SqlQueryRaw<Counted>(
                $"SELECT (SELECT count(*) FROM {owned.Table} WHERE customer_id = ANY (@absorbed)) AS moved, {collide} AS collide",
                new Npgsql.NpgsqlParameter<Guid[]>("absorbed", absorbed), new Npgsql.NpgsqlParameter<Guid>("survivor", survivor)).SingleAsync(ct);
#pragma warning restore EF1002, EF1003
            impact.Rows.Add(new Wire.RowCount { Table = owned.Table, Moved = counted.Moved, Collide = counted.Collide });
        }

        foreach (var blocker in await db.FindMergeBlockersAsync(await MembersAsync(request, survivor, absorbed, ct), ct))
        {
            var wire = new Wire.Blocker { Code = blocker.Code, Source = blocker.Source };
            wire.CustomerIds.AddRange(blocker.Customers.Select(c => Ids.Customer.Format(c)));
            impact.Blockers.Add(wire);
        }

        return impact;
    }

    [Callers("contacts")]
    public override async Task<Wire.Owners> FindOwners(Wire.FindOwnersRequest request, ServerCallContext context)
    {
        if (request.CustomerIds.Count > MostCustomers)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, $"At most {MostCustomers} customers."));
        }

        var owners = new Wire.Owners();
        foreach (var table in await db.FindOwnersAsync([.. request.CustomerIds.Select(id => GrpcIds.Parse(Ids.Customer, id, "customer"))], context.CancellationToken))
        {
            var wire = new Wire.TableOwners { Table = table.Key };
            wire.CustomerIds.AddRange(table.Select(id => Ids.Customer.Format(id)));
            owners.Tables.Add(wire);
        }

        return owners;
    }

    /// <summary>By every id under which rows of the customers may have been recorded: which of them it stands for.</summary>
    private async Task<IReadOnlyDictionary<Guid, Guid>> MembersAsync(Wire.GetImpactRequest request, Guid survivor, Guid[] absorbed, CancellationToken ct)
    {
        if (request.Members.Count == 0)
        {
            return await db.FindMembersAsync(survivor, absorbed, ct);
        }

        var members = new Dictionary<Guid, Guid>();
        foreach (var member in request.Members)
        {
            var id = GrpcIds.Parse(Ids.Customer, member.CustomerId, "customer");
            members[id] = id;
            foreach (var below in member.AbsorbedIds)
            {
                members[GrpcIds.Parse(Ids.Customer, below, "customer")] = id;
            }
        }

        return members;
    }

    private sealed record Counted([property: Column("moved")] long Moved, [property: Column("collide")] long Collide);
}

using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contracts;
using Crm.Contracts.Merges.V1;
using Crm.Hosting.Rpc;
using Crm.Hosting.Web;
using Grpc.Core;
using Grpc.Net.ClientFactory;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Merges;

/// <summary>What a merge would mean to the four other services, asked of them at once.</summary>
internal sealed class MergeImpact(GrpcClientFactory clients)
{
    private const string Billing = "billing-sync";

    /// <summary>By these names of services there are clients.</summary>
    public static readonly (string Service, string Peer)[] Peers =
        [("interactions", "Interactions"), ("campaigns", "Campaigns"), (Billing, "BillingSync"), ("support", "Support")];

    public static void AddClients(IHostApplicationBuilder builder)
    {
        foreach (var (service, peer) in Peers)
        {
            builder.AddCrmGrpcClientNamed<Contracts.Merges.V1.Merges.MergesClient>(peer, "crm.merges.v1.Merges", service, "GetImpact", "FindOwners");
        }

        builder.Services.AddSingleton<MergeImpact>();
    }

    /// <exception cref="ProblemException">503 when BillingSync, which alone can forbid a merge, cannot be reached.</exception>
    public async Task<(List<ServiceImpact> Services, List<BlockerView> Blockers)> AskAsync(ContactsDb db, Guid survivor, IEnumerable<Guid> absorbed, CancellationToken ct)
    {
        var request = await RequestAsync(db, survivor, absorbed, ct);
        var answers = await Task.WhenAll(Peers.Select(p => AskAsync(p.Service, request, ct)));
        return ([.. answers.Select(a => a.Part)], [.. answers.SelectMany(a => a.Blockers)]);
    }

    /// <summary>Only what forbids it.</summary>
    /// <exception cref="ProblemException">503.</exception>
    public async Task<List<BlockerView>> FindBlockersAsync(ContactsDb db, Guid survivor, IEnumerable<Guid> absorbed, CancellationToken ct) =>
        (await AskAsync(Billing, await RequestAsync(db, survivor, absorbed, ct), ct)).Blockers;

    /// <summary>With all who stand behind each: the others hear of a merge or an undo of a moment ago only later.</summary>
    private static async Task<GetImpactRequest> RequestAsync(ContactsDb db, Guid survivor, IEnumerable<Guid> absorbed, CancellationToken ct)
    {
        Guid[] customers = [survivor, .. absorbed];
        var below = (await db.Database.SqlQuery<MemberRow>($"SELECT top, below FROM unnest({customers}) AS top, LATERAL customers_below(ARRAY[top]) AS below").ToListAsync(ct))
            .ToLookup(r => r.Top, r => r.Below);
        var request = new GetImpactRequest { SurvivorId = Ids.Customer.Format(survivor) };
        request.AbsorbedIds.AddRange(customers.Skip(1).Select(id => Ids.Customer.Format(id)));
        foreach (var customer in customers)
        {
            var member = new Member { CustomerId = Ids.Customer.Format(customer) };
            member.AbsorbedIds.AddRange(below[customer].Where(id => id != customer).Select(id => Ids.Customer.Format(id)));
            request.Members.Add(member);
        }

        return request;
    }

    private async Task<(ServiceImpact Part, List<BlockerView> Blockers)> AskAsync(string service, GetImpactRequest request, CancellationToken ct)
    {
        try
        {
            var impact = await clients.CreateClient<Contracts.Merges.V1.Merges.MergesClient>(service).GetImpactAsync(request, cancellationToken: ct);
            return (
                new(service, PartStatus.Ok, [.. impact.Rows.Select(r => new RowCountView(r.Table, r.Moved, r.Collide))]),
                [.. impact.Blockers.Select(b => new BlockerView(b.Code, b.Source, [.. b.CustomerIds]))]);
        }
        catch (RpcException exception) when (!ct.IsCancellationRequested && exception.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded)
        {
            return service == Billing
                ? throw new ProblemException(ProblemCodes.Unavailable, "Billing cannot be asked whether both customers pay; try again.") { RetryAfter = 1 }
                : (new(service, PartStatus.Unavailable, []), []);
        }
    }

    private sealed record MemberRow([property: Column("top")] Guid Top, [property: Column("below")] Guid Below);
}

public enum PartStatus
{
    Ok,

    /// <summary>The service cannot say now; its rows will be moved all the same.</summary>
    Unavailable,
}

public sealed record ServiceImpact(string Service, PartStatus Status, IReadOnlyList<RowCountView> Rows);

/// <param name="Moved">Rows that will belong to the survivor.</param>
/// <param name="Collide">
/// Rows of which there is a like one, or of which a customer has one at a time; both are kept. Of parents, account managers and
/// equal relationships the survivor's own is shown.
/// </param>
public sealed record RowCountView(string Table, long Moved, long Collide);

/// <summary>What forbids a merge, or would have if it had been there in time.</summary>
/// <param name="Code">Of the problem that the merge answers.</param>
/// <param name="Source">The billing source.</param>
public sealed record BlockerView(string Code, string Source, IReadOnlyList<string> CustomerIds);

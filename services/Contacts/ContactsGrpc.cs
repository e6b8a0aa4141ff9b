using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contacts.Domain;
using Crm.Contacts.Features;
using Crm.Contacts.Features.CustomFields;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Rpc;
using Crm.Hosting.Web;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Wire = Crm.Contracts.Contacts.V1;

namespace Crm.Contacts;

/// <summary>Identity for the other services and the gateway.</summary>
internal sealed class ContactsGrpc(ContactsDb db) : Wire.Contacts.ContactsBase
{
    private const int Batch = 500;

    private const int MostAsked = 1000;

    [Callers("interactions", "campaigns", "billing-sync", "support", "gateway", Scope = Scopes.CustomersRead)]
    public override async Task<Wire.Customer> GetCustomer(Wire.GetCustomerRequest request, ServerCallContext context)
    {
        CallerRights.Current.SeeParts();
        return await FindByIdAsync(request.Id, request.IncludeDeleted, context.CancellationToken);
    }

    [Callers("interactions", "campaigns", "billing-sync", "support", "gateway", Scope = Scopes.CustomersRead)]
    public override async Task<Wire.Customer> ResolveCustomer(Wire.ResolveCustomerRequest request, ServerCallContext context)
    {
        if (request.IdentifierCase == Wire.ResolveCustomerRequest.IdentifierOneofCase.Id)
        {
            return await FindByIdAsync(request.Id, includeDeleted: false, context.CancellationToken);
        }

        var whole = db.Whole();
        var query = request.IdentifierCase switch
        {
            Wire.ResolveCustomerRequest.IdentifierOneofCase.Email => ByIdentifier(whole, CustomerIdentifier.Email, Email.Normalize(request.Email).ToLowerInvariant()),
            Wire.ResolveCustomerRequest.IdentifierOneofCase.Phone => ByIdentifier(whole, CustomerIdentifier.Phone, Phone.Normalize(request.Phone)),
            Wire.ResolveCustomerRequest.IdentifierOneofCase.ExternalId =>
                whole.Where(c => c.ExternalIds.Any(e => e.System == request.ExternalId.System && e.Value == request.ExternalId.Id)),
            _ => throw new RpcException(new Status(StatusCode.InvalidArgument, "Give one identifier.")),
        };
        return await ToWireAsync(await FindAsync(query, context.CancellationToken), context.CancellationToken);
    }

    [Callers("interactions", "campaigns", "billing-sync", "support")]
    public override async Task StreamCustomers(Wire.StreamCustomersRequest request, IServerStreamWriter<Wire.CustomerRecord> responseStream, ServerCallContext context)
    {
        var ct = context.CancellationToken;
        var after = request.After.Length == 0 ? Guid.Empty : GrpcIds.Parse(Ids.Customer, request.After, "customer");
        var left = request.Limit > 0 ? request.Limit : int.MaxValue;
        while (left > 0)
        {
            var customers = await db.Customers.AsNoTracking().Where(c => c.Id > after).OrderBy(c => c.Id).Take(Math.Min(Batch, left)).ToListAsync(ct);
            if (customers.Count == 0)
            {
                return;
            }

            left -= customers.Count;

            var ids = customers.Select(c => c.Id).ToArray();
            var consents = (await db.CurrentConsents.AsNoTracking().Where(c => ids.Contains(c.CustomerId)).ToListAsync(ct)).ToLookup(c => c.CustomerId);
            foreach (var customer in customers)
            {
                var record = new Wire.CustomerRecord { Customer = customer.Snapshot().ToProto() };
                record.Consents.AddRange(consents[customer.Id].Select(c => new Wire.Consent
                {
                    CustomerId = record.Customer.Id,
                    Channel = c.Channel.ToWord(),
                    Purpose = c.Purpose,
                    State = c.State?.ToWord() ?? ConsentRecorded.NothingSaid,
                    Version = c.Version,
                    At = Timestamp.FromDateTimeOffset(c.At),
                    PausedUntil = c.PausedUntil is { } until ? Timestamp.FromDateTimeOffset(until) : null,
                }));
                await responseStream.WriteAsync(record, ct);
            }

            after = customers[^1].Id;
        }
    }

    [Callers("interactions", "campaigns", "billing-sync", "support")]
    public override async Task<Wire.ListTiersResponse> ListTiers(Wire.ListTiersRequest request, ServerCallContext context)
    {
        var response = new Wire.ListTiersResponse();
        response.Tiers.AddRange((await db.Tiers.AsNoTracking().OrderBy(t => t.Name).ToListAsync(context.CancellationToken)).Select(t => t.Changed().ToProto()));
        return response;
    }

    [Callers("interactions", "campaigns", "billing-sync", "support")]
    public override async Task StreamGrants(Wire.StreamGrantsRequest request, IServerStreamWriter<Wire.Grant> responseStream, ServerCallContext context)
    {
        await foreach (var grant in db.PresentGrants().OrderBy(g => g.Id).AsAsyncEnumerable().WithCancellation(context.CancellationToken))
        {
            await responseStream.WriteAsync(grant.Changed().ToProto(), context.CancellationToken);
        }
    }

    [Callers("campaigns")]
    public override async Task<Wire.AttributeGroups> ListAttributeGroups(Wire.ListAttributeGroupsRequest request, ServerCallContext context)
    {
        var groups = new Wire.AttributeGroups();
        groups.Groups.Add(await db.ReadAttributeGroupsAsync(context.CancellationToken));
        return groups;
    }

    [Callers("campaigns")]
    public override async Task<Wire.GrantedConsents> AskConsents(Wire.AskConsentsRequest request, ServerCallContext context)
    {
        if (request.CustomerIds.Count > MostAsked)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, $"At most {MostAsked} customers."));
        }

        Guid[] ids = [.. request.CustomerIds.Select(id => GrpcIds.Parse(Ids.Customer, id, "customer")).Distinct()];
        string[] purposes = [.. request.Purposes];
        var channel = request.Channel;
        var granted = await db.Database.SqlQuery<GrantedRow>($"""
            SELECT a.id, s.purpose, s.at, s.paused_until
            FROM unnest({ids}) AS a (id) CROSS JOIN LATERAL customer_root(a.id) AS root
            JOIN customers c ON c.id = root AND c.state = 'active'
            JOIN consent_states s ON s.customer_id = root AND s.channel = {channel} AND s.purpose = ANY ({purposes}) AND s.state = 'granted'
            """).ToListAsync(context.CancellationToken);
        var answer = new Wire.GrantedConsents();
        answer.Consents.AddRange(granted.Select(g => new Wire.GrantedConsent
        {
            CustomerId = Ids.Customer.Format(g.Id),
            Purpose = g.Purpose,
            At = Timestamp.FromDateTimeOffset(g.At),
            PausedUntil = g.PausedUntil is { } until ? Timestamp.FromDateTimeOffset(until) : null,
        }));
        return answer;
    }

    private sealed record GrantedRow(
        [property: Column("id")] Guid Id,
        [property: Column("purpose")] string Purpose,
        [property: Column("at")] DateTimeOffset At,
        [property: Column("paused_until")] DateTimeOffset? PausedUntil);

    /// <summary>The customer whom the id stands for; of another one, with the snapshots of all on the way.</summary>
    private async Task<Wire.Customer> FindByIdAsync(string id, bool includeDeleted, CancellationToken ct)
    {
        var key = GrpcIds.Parse(Ids.Customer, id, "customer");
        var way = new List<Customer>();
        for (Guid? next = key; next is not null && way.TrueForAll(c => c.Id != next); next = way[^1].SurvivorId)
        {
            way.Add(await db.Whole().AsNoTracking().FirstOrDefaultAsync(c => c.Id == next, ct) ?? throw ProblemException.NotFound("customer"));
        }

        if (way[^1].State is CustomerState.Erased or CustomerState.Removed)
        {
            throw way[^1].State == CustomerState.Erased ? CustomerRoots.Erased() : CustomerRoots.Removed();
        }

        var wire = await ToWireAsync(includeDeleted ? way[^1] : way[^1].OutOfBin(), ct);
        wire.Absorbed.AddRange(way.SkipLast(1).Select(c => ShownSnapshot(c, CallerRights.Current.GroupsOf(c.Department))));
        return wire;
    }

    private static IQueryable<Customer> ByIdentifier(IQueryable<Customer> customers, string kind, string value) =>
        customers.Where(c => c.Identifiers.Any(i => i.Kind == kind && i.Value == value));

    private static async Task<Customer> FindAsync(IQueryable<Customer> query, CancellationToken ct) =>
        await query.AsNoTracking().OrderBy(c => c.Id).Take(2).ToListAsync(ct) switch
        {
            [var only] => only.OutOfBin(),
            [] => throw ProblemException.NotFound("customer"),
            _ => throw new RpcException(new Status(StatusCode.FailedPrecondition, "Several customers have this identifier.")),
        };

    /// <summary>The attributes are one text, so the rules on fields do not see into it.</summary>
    private static Wire.CustomerSnapshot ShownSnapshot(Customer customer, IReadOnlySet<string>? granted)
    {
        var snapshot = customer.Snapshot();
        return (snapshot with { Attributes = CallerRights.Current.Shown(snapshot.Attributes, granted) }).ToProto().Within(granted);
    }

    private async Task<Wire.Customer> ToWireAsync(Customer customer, CancellationToken ct)
    {
        var granted = (await db.ShowAsync([customer], ct))[0].Granted;
        var wire = new Wire.Customer
        {
            Snapshot = ShownSnapshot(customer, granted),
            BirthDate = customer.BirthDate?.ToString("O", System.Globalization.CultureInfo.InvariantCulture) ?? "",
        };
        wire.Entitlements = (await db.Tiers.AsNoTracking().FirstAsync(t => t.Name == customer.Tier, ct)).Entitlements.ToProto();
        wire.MergedFrom.AddRange(customer.MergedFrom.Select(Ids.Customer.Format));
        wire.Emails.AddRange(customer.Emails.Select(e => new Wire.Email { Address = e.Address, Type = e.Type!.Value.ToWord(), Primary = e.Primary is true }));
        wire.Phones.AddRange(customer.Phones.Select(p => new Wire.Phone { Number = p.Number, Type = p.Type!.Value.ToWord(), Primary = p.Primary is true }));
        wire.Addresses.AddRange(customer.Addresses.Select(a =>
        {
            var address = new Wire.Address
            {
                City = a.City ?? "",
                Region = a.Region ?? "",
                PostalCode = a.PostalCode ?? "",
                Country = a.Country ?? "",
                Type = a.Type!.Value.ToWord(),
                Primary = a.Primary is true,
            };
            address.Lines.AddRange(a.Lines);
            return address;
        }));
        wire.ExternalIds.AddRange(customer.ExternalIds.Select(e => new Wire.ExternalId { System = e.System, Id = e.Value }));
        if (customer.SourceType is { } source)
        {
            wire.Source = new Wire.Source
            {
                Type = source.ToWord(),
                ReferrerId = Ids.Customer.Format(customer.SourceReferrerId) ?? "",
                Detail = customer.SourceDetail ?? "",
            };
        }

        return wire.Within(granted);
    }
}

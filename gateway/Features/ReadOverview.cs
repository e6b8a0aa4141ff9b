using System.Security.Claims;
using System.Text.Json;
using System.Text.Json.Serialization;
using Billing = Crm.Contracts.BillingSync.V1;
using Campaign = Crm.Contracts.Campaigns.V1;
using Contact = Crm.Contracts.Contacts.V1;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Gateway.Authentication;
using Crm.Hosting;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;
using Crm.Hosting.Rpc;
using Crm.Hosting.Web;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Interaction = Crm.Contracts.Interactions.V1;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using SupportV1 = Crm.Contracts.Support.V1;

namespace Crm.Gateway.Features;

/// <summary>
/// All that the platform knows of a customer on one page, asked of the five services at once. Each has a
/// deadline of its own: one that is late or away leaves its part marked, and the rest is answered.
/// </summary>
internal sealed partial class ReadOverview(
    Contact.Contacts.ContactsClient contacts,
    Interaction.Interactions.InteractionsClient interactions,
    Campaign.Campaigns.CampaignsClient campaigns,
    Billing.BillingSync.BillingSyncClient billing,
    SupportV1.Support.SupportClient support,
    CallerTokens tokens,
    IOptions<GatewayOptions> options,
    TimeProvider clock,
    ILogger<ReadOverview> logger)
{
    public static Task<Ok<Overview>> Handle(string id, HttpContext http, ReadOverview overview, CancellationToken ct) =>
        Ids.Customer.TryParse(id, out _) ? overview.ReadAsync(id, http, ct) : throw ProblemException.NotFound("customer");

    private async Task<Ok<Overview>> ReadAsync(string id, HttpContext http, CancellationToken ct)
    {
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var token = tokens.For(http.Features.GetRequiredFeature<Caller>());
        CallOptions Call() => new(
            new Metadata { { "authorization", $"Bearer {token}" } }, (clock.GetUtcNow() + options.Value.OverviewDeadline).UtcDateTime, enough.Token);

        var customer = AskAsync<CustomerPart>(http.User, "contacts", Scopes.CustomersRead,
            async () => CustomerOk.Of(await contacts.GetCustomerAsync(new() { Id = id }, Call()), clock.GetUtcNow()),
            r => new CustomerUnavailable(r), r => new CustomerForbidden(r));
        var others = (
            Interactions: AskAsync<InteractionsPart>(http.User, "interactions", Scopes.InteractionsRead,
                async () => InteractionsOk.Of(await interactions.GetCustomerOverviewAsync(new() { CustomerId = id }, Call())),
                r => new InteractionsUnavailable(r), r => new InteractionsForbidden(r)),
            Campaigns: AskAsync<CampaignsPart>(http.User, "campaigns", Scopes.CampaignsRead,
                async () => CampaignsOk.Of(await campaigns.GetCustomerOverviewAsync(new() { CustomerId = id }, Call())),
                r => new CampaignsUnavailable(r), r => new CampaignsForbidden(r)),
            Billing: AskAsync<BillingPart>(http.User, "billing-sync", Scopes.BillingRead,
                async () => BillingOk.Of(await billing.GetCustomerOverviewAsync(new() { CustomerId = id }, Call())),
                r => new BillingUnavailable(r), r => new BillingForbidden(r)),
            Support: AskAsync<SupportPart>(http.User, "support", Scopes.CasesRead,
                async () => SupportOk.Of(await support.GetCustomerOverviewAsync(new() { CustomerId = id }, Call())),
                r => new SupportUnavailable(r), r => new SupportForbidden(r)));

        if (WhyNot(await customer, id, http.Request) is { } problem)
        {
            await enough.CancelAsync();
            throw problem;
        }

        return TypedResults.Ok(new Overview(await customer, await others.Interactions, await others.Campaigns, await others.Billing, await others.Support));
    }

    /// <summary>Why there is no overview at this address; null when there is one, though it may lack parts.</summary>
    private static ProblemException? WhyNot(CustomerPart customer, string id, HttpRequest request) => customer switch
    {
        CustomerUnavailable { Reason: Reasons.Erased } => new(ProblemCodes.Erased, "The customer was erased."),
        CustomerUnavailable { Reason: Reasons.Removed } => new(ProblemCodes.Gone, "The import that made this customer was undone."),
        CustomerUnavailable { Reason: Reasons.Deleted } => new(ProblemCodes.CustomerDeleted, "The customer is in the recycle bin; it can be restored from there."),
        CustomerUnavailable { Reason: Reasons.NotFound } => ProblemException.NotFound("customer"),
        CustomerOk { Id: { } present } when present != id =>
            ProblemException.Moved(ProblemCodes.CustomerMerged, "The customer was merged into another.", request, id, present),
        _ => null,
    };

    /// <summary>One part, whatever becomes of its service.</summary>
    private async Task<TPart> AskAsync<TPart>(ClaimsPrincipal user, string service, string scope, Func<Task<TPart>> ask, Func<string, TPart> unavailable, Func<string, TPart> forbidden)
    {
        if (!user.HasScope(scope))
        {
            return forbidden(scope);
        }

        try
        {
            return await ask();
        }
        catch (RpcException exception) when (exception.StatusCode == StatusCode.PermissionDenied)
        {
            return forbidden(scope);
        }
        catch (RpcException exception)
        {
            var reason = Reasons.Of(exception);
            if (reason is not (Reasons.NotFound or Reasons.Erased or Reasons.Removed or Reasons.Deleted) && exception.StatusCode != StatusCode.Cancelled)
            {
                LogUnavailable(service, exception.StatusCode, exception.Status.Detail);
            }

            return unavailable(reason);
        }
    }

    [LoggerMessage(LogLevel.Warning, "The overview is without {Service}: {StatusCode} ({Detail})")]
    private partial void LogUnavailable(string service, StatusCode statusCode, string detail);
}

internal static class OverviewServices
{
    public static void AddOverview(this WebApplicationBuilder builder)
    {
        builder.AddCrmGrpcClient<Contact.Contacts.ContactsClient>("Contacts", "crm.contacts.v1.Contacts", "GetCustomer");
        builder.AddCrmGrpcClient<Interaction.Interactions.InteractionsClient>("Interactions", "crm.interactions.v1.Interactions", "GetCustomerOverview");
        builder.AddCrmGrpcClient<Campaign.Campaigns.CampaignsClient>("Campaigns", "crm.campaigns.v1.Campaigns", "GetCustomerOverview");
        builder.AddCrmGrpcClient<Billing.BillingSync.BillingSyncClient>("BillingSync", "crm.billing_sync.v1.BillingSync", "GetCustomerOverview");
        builder.AddCrmGrpcClient<SupportV1.Support.SupportClient>("Support", "crm.support.v1.Support", "GetCustomerOverview");
        builder.Services.AddSingleton<ReadOverview>();
        builder.Services.AddHostedService<OverviewWarmUp>();
    }
}

/// <summary>
/// Opens the connections before the first caller comes: within the short deadline of a part there is no
/// time for them. The question is about nobody, on the gateway's own behalf, and services refuse it.
/// </summary>
internal sealed class OverviewWarmUp(
    Contact.Contacts.ContactsClient contacts,
    Interaction.Interactions.InteractionsClient interactions,
    Campaign.Campaigns.CampaignsClient campaigns,
    Billing.BillingSync.BillingSyncClient billing,
    SupportV1.Support.SupportClient support) : BackgroundService
{
    protected override Task ExecuteAsync(CancellationToken stoppingToken) => Task.WhenAll(
        TryAsync(async o => await contacts.GetCustomerAsync(new(), o), stoppingToken),
        TryAsync(async o => await interactions.GetCustomerOverviewAsync(new(), o), stoppingToken),
        TryAsync(async o => await campaigns.GetCustomerOverviewAsync(new(), o), stoppingToken),
        TryAsync(async o => await billing.GetCustomerOverviewAsync(new(), o), stoppingToken),
        TryAsync(async o => await support.GetCustomerOverviewAsync(new(), o), stoppingToken));

    private static async Task TryAsync(Func<CallOptions, Task> ask, CancellationToken ct)
    {
        await Task.Yield();
        try
        {
            using var quiet = QuietWork.Begin();
            await ask(new CallOptions(cancellationToken: ct));
        }
        catch (RpcException)
        {
            // Any answer has opened the connection; no answer is what callers will be told too.
        }
    }
}

/// <summary>Why a part of the overview is missing.</summary>
internal static class Reasons
{
    public const string Timeout = "timeout";
    public const string Unreachable = "unreachable";
    public const string Error = "error";

    /// <summary>The service does not know the customer yet; for the customer itself, nobody does.</summary>
    public const string NotFound = "not_found";

    /// <summary>Of the customer itself; never shown, since the answer is 410.</summary>
    public const string Erased = "erased";

    /// <inheritdoc cref="Erased"/>
    public const string Removed = "removed";

    /// <inheritdoc cref="Erased"/>
    public const string Deleted = "deleted";

    public static string Of(RpcException exception) => exception.StatusCode switch
    {
        StatusCode.NotFound when exception.Trailers.GetValue("crm-code") == ProblemCodes.Erased.Code => Erased,
        StatusCode.NotFound when exception.Trailers.GetValue("crm-code") == ProblemCodes.Gone.Code => Removed,
        StatusCode.NotFound when exception.Trailers.GetValue("crm-code") == ProblemCodes.CustomerDeleted.Code => Deleted,
        StatusCode.DeadlineExceeded => Timeout,
        StatusCode.Unavailable => Unreachable,
        StatusCode.NotFound => NotFound,
        _ => Error,
    };
}

/// <summary>Each part is <c>ok</c> with what the service knows, <c>unavailable</c> (<c>timeout</c>, <c>unreachable</c>, <c>error</c>, <c>not_found</c>) or <c>forbidden</c>, naming the scope that the caller lacks.</summary>
public sealed record Overview(CustomerPart Customer, InteractionsPart Interactions, CampaignsPart Campaigns, BillingPart Billing, SupportPart Support);

[JsonPolymorphic(TypeDiscriminatorPropertyName = "status")]
[JsonDerivedType(typeof(CustomerOk), "ok"), JsonDerivedType(typeof(CustomerUnavailable), "unavailable"), JsonDerivedType(typeof(CustomerForbidden), "forbidden")]
public abstract record CustomerPart;

public sealed record CustomerUnavailable(string Reason) : CustomerPart;

public sealed record CustomerForbidden(string Reason) : CustomerPart;

/// <summary>The customer as <c>GET /v1/customers/{id}</c> has it.</summary>
/// <param name="Entitlements">Of its tier.</param>
public sealed record CustomerOk(
    DateTimeOffset AsOf,
    string Id,
    string Kind,
    [property: FieldGroup(FieldGroups.Names)] string DisplayName,
    [property: FieldGroup(FieldGroups.Names)] string? GivenName,
    [property: FieldGroup(FieldGroups.Names)] string? FamilyName,
    [property: FieldGroup(FieldGroups.Names)] string? Name,
    [property: FieldGroup(FieldGroups.ContactDetails)] IReadOnlyList<OverviewEmail> Emails,
    [property: FieldGroup(FieldGroups.ContactDetails)] IReadOnlyList<OverviewPhone> Phones,
    [property: FieldGroup(FieldGroups.ContactDetails)] IReadOnlyList<OverviewAddress> Addresses,
    [property: FieldGroup(FieldGroups.Identity)] string? BirthDate,
    string? Locale,
    string? TimeZone,
    string Lifecycle,
    OverviewSource? Source,
    string? Department,
    string Tier,
    TierEntitlements? Entitlements,
    IReadOnlyList<OverviewExternalId> ExternalIds,
    [property: FieldGroup(FieldGroups.CustomFields)] IReadOnlyDictionary<string, JsonElement> Attributes,
    [property: FieldGroup(FieldGroups.CustomFields)] IReadOnlyList<string> Tags,
    string State,
    IReadOnlyList<string> MergedFrom,
    long Version,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt) : CustomerPart
{
    internal static CustomerOk Of(Contact.Customer c, DateTimeOffset now)
    {
        var s = c.Snapshot.ToSnapshot();
        return new(
            now, s.Id, s.Kind, s.DisplayName, s.GivenName, s.FamilyName, s.Kind == "organization" ? s.DisplayName : null,
            [.. c.Emails.Select(e => new OverviewEmail(e.Address, e.Type, e.Primary))],
            [.. c.Phones.Select(p => new OverviewPhone(p.Number, p.Type, p.Primary))],
            [.. c.Addresses.Select(a => new OverviewAddress([.. a.Lines], a.City.OrNull(), a.Region.OrNull(), a.PostalCode.OrNull(), a.Country.OrNull(), a.Type, a.Primary))],
            c.BirthDate.OrNull(), s.Locale, s.TimeZone, s.Lifecycle,
            c.Source is { Type.Length: > 0 } source ? new(source.Type, source.ReferrerId.OrNull(), source.Detail.OrNull()) : null,
            s.Department, s.Tier, c.Entitlements?.ToEntitlements(), [.. c.ExternalIds.Select(e => new OverviewExternalId(e.System, e.Id))], s.Attributes, [.. s.Tags ?? []], s.State, [.. c.MergedFrom], s.Version, s.CreatedAt, s.UpdatedAt);
    }
}

public sealed record OverviewEmail([property: FieldGroup(FieldGroups.ContactDetails)] string Address, string Type, bool Primary);

public sealed record OverviewPhone([property: FieldGroup(FieldGroups.ContactDetails)] string Number, string Type, bool Primary);

public sealed record OverviewAddress(
    [property: FieldGroup(FieldGroups.ContactDetails)] IReadOnlyList<string> Lines, [property: FieldGroup(FieldGroups.ContactDetails)] string? City, string? Region, [property: FieldGroup(FieldGroups.ContactDetails)] string? PostalCode,
    string? Country, string Type, bool Primary);

public sealed record OverviewSource(string Type, string? ReferrerId, [property: FieldGroup(FieldGroups.Notes)] string? Detail);

public sealed record OverviewExternalId(string System, string Id);

[JsonPolymorphic(TypeDiscriminatorPropertyName = "status")]
[JsonDerivedType(typeof(InteractionsOk), "ok"), JsonDerivedType(typeof(InteractionsUnavailable), "unavailable"), JsonDerivedType(typeof(InteractionsForbidden), "forbidden")]
public abstract record InteractionsPart;

public sealed record InteractionsUnavailable(string Reason) : InteractionsPart;

public sealed record InteractionsForbidden(string Reason) : InteractionsPart;

/// <param name="Recent">The ten newest entries of the timeline.</param>
public sealed record InteractionsOk(DateTimeOffset AsOf, DateTimeOffset? LastInteractionAt, IReadOnlyList<OverviewTimelineEntry> Recent) : InteractionsPart
{
    internal static InteractionsOk Of(Interaction.CustomerOverview o) => new(
        o.AsOf.ToDateTimeOffset(), o.LastInteractionAt.OrNull(),
        [.. o.Recent.Select(e => new OverviewTimelineEntry(e.At.ToDateTimeOffset(), e.Type, e.Id, e.Summary, e.Service))]);
}

public sealed record OverviewTimelineEntry(DateTimeOffset At, string Type, string Id, string Summary, string Service);

[JsonPolymorphic(TypeDiscriminatorPropertyName = "status")]
[JsonDerivedType(typeof(CampaignsOk), "ok"), JsonDerivedType(typeof(CampaignsUnavailable), "unavailable"), JsonDerivedType(typeof(CampaignsForbidden), "forbidden")]
public abstract record CampaignsPart;

public sealed record CampaignsUnavailable(string Reason) : CampaignsPart;

public sealed record CampaignsForbidden(string Reason) : CampaignsPart;

public sealed record CampaignsOk(
    DateTimeOffset AsOf, int MessagesSent, DateTimeOffset? LastMessageAt, IReadOnlyList<OverviewMessage> Recent, IReadOnlyList<OverviewConsent> Consents) : CampaignsPart
{
    internal static CampaignsOk Of(Campaign.CustomerOverview o) => new(
        o.AsOf.ToDateTimeOffset(), o.MessagesSent, o.LastMessageAt.OrNull(),
        [.. o.Recent.Select(m => new OverviewMessage(m.Id, m.CampaignId, m.CampaignName, m.Channel, m.Status, m.At.OrNull()))],
        [.. o.Consents.Select(c => new OverviewConsent(c.Channel, c.Purpose, c.State))]);
}

public sealed record OverviewMessage(string Id, string CampaignId, string CampaignName, string Channel, string Status, DateTimeOffset? At);

public sealed record OverviewConsent(string Channel, string Purpose, string State);

[JsonPolymorphic(TypeDiscriminatorPropertyName = "status")]
[JsonDerivedType(typeof(BillingOk), "ok"), JsonDerivedType(typeof(BillingUnavailable), "unavailable"), JsonDerivedType(typeof(BillingForbidden), "forbidden")]
public abstract record BillingPart;

public sealed record BillingUnavailable(string Reason) : BillingPart;

public sealed record BillingForbidden(string Reason) : BillingPart;

/// <param name="ByCurrency">Minor units of each currency.</param>
public sealed record BillingOk(
    DateTimeOffset AsOf, long Orders, DateTimeOffset? FirstPurchaseAt, DateTimeOffset? LastPurchaseAt,
    [property: FieldGroup(FieldGroups.Finance)] IReadOnlyList<OverviewCurrencyAccount> ByCurrency) : BillingPart
{
    internal static BillingOk Of(Billing.CustomerOverview o) => new(
        o.AsOf.ToDateTimeOffset(), o.Orders, o.FirstPurchaseAt.OrNull(), o.LastPurchaseAt.OrNull(),
        [.. o.ByCurrency.Select(c => new OverviewCurrencyAccount(c.Currency, c.Balance, c.Overdue, c.Revenue))]);
}

public sealed record OverviewCurrencyAccount(string Currency, long Balance, long Overdue, long Revenue);

[JsonPolymorphic(TypeDiscriminatorPropertyName = "status")]
[JsonDerivedType(typeof(SupportOk), "ok"), JsonDerivedType(typeof(SupportUnavailable), "unavailable"), JsonDerivedType(typeof(SupportForbidden), "forbidden")]
public abstract record SupportPart;

public sealed record SupportUnavailable(string Reason) : SupportPart;

public sealed record SupportForbidden(string Reason) : SupportPart;

/// <param name="Recent">Open ones first, then the newest; ten at most.</param>
public sealed record SupportOk(DateTimeOffset AsOf, int OpenCases, int OpenComplaints, IReadOnlyList<OverviewCase> Recent) : SupportPart
{
    internal static SupportOk Of(SupportV1.CustomerOverview o) => new(
        o.AsOf.ToDateTimeOffset(), o.OpenCases, o.OpenComplaints,
        [.. o.Recent.Select(c => new OverviewCase(c.Id, c.Type, c.Subject, c.Priority, c.Queue.OrNull(), c.Status, c.OpenedAt.OrNull()))]);
}

public sealed record OverviewCase(string Id, string Type, [property: FieldGroup(FieldGroups.Notes)] string Subject, string Priority, string? Queue, string Status, DateTimeOffset? OpenedAt);

internal static class ProtoValues
{
    /// <summary>proto3 text is never null; empty is "not there".</summary>
    public static string? OrNull(this string text) => text.Length == 0 ? null : text;

    public static DateTimeOffset? OrNull(this Timestamp? instant) => instant?.ToDateTimeOffset();
}

using System.Globalization;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;

namespace Crm.Interactions.Domain;

public enum TimelineType
{
    Interaction,
    Order,
    Invoice,
    Payment,
    Case,
    Message,
}

/// <summary>One thing that happened with a customer, in one line; its record lives in <see cref="Service"/>.</summary>
/// <param name="Version">The record's version that the line was made of.</param>
/// <param name="CustomerId">Whose it is now; a merge moves it.</param>
/// <param name="OriginCustomerId">Under whom the record was recorded.</param>
internal sealed record TimelineEntry(TimelineType Type, Guid Id, Guid CustomerId, Guid OriginCustomerId, DateTimeOffset At, string Summary, long Version)
{
    /// <summary>
    /// Of a campaign's message: the field groups that its segment asked about. Null of a message of which that is not known, and of
    /// what is none.
    /// </summary>
    public string[]? AskedGroups { get; init; }

    public string PublicId => KindOf(Type).Format(Id);

    public string Service => Type switch
    {
        TimelineType.Interaction => "interactions",
        TimelineType.Order or TimelineType.Invoice or TimelineType.Payment => "billing-sync",
        TimelineType.Case => "support",
        TimelineType.Message => "campaigns",
        _ => throw new InvalidOperationException($"{Type} belongs to no service."),
    };

    /// <summary>The line as the caller may read it: without the rights to what it tells, only what kind of thing happened.</summary>
    public string SummaryForCaller => Type switch
    {
        TimelineType.Order or TimelineType.Invoice or TimelineType.Payment => Readable(FieldGroups.Finance),
        TimelineType.Interaction or TimelineType.Case => Readable(FieldGroups.Notes),
        // The subject of a mail addresses its reader, and which campaign wrote tells what its segment asked.
        _ => Readable([FieldGroups.Names, FieldGroups.ContactDetails, .. AskedGroups ?? FieldGroups.All]),
    };

    public static TimelineEntry Of(Interaction interaction) => new(
        TimelineType.Interaction,
        interaction.Id,
        interaction.CustomerId,
        interaction.OriginCustomerId,
        interaction.StartedAt,
        WithText($"{interaction.Channel.ToWord()}, {interaction.Direction.ToWord()}", interaction.Subject),
        interaction.Version);

    public static TimelineEntry Of(OrderRecorded order)
    {
        var items = order.Quantity == 0 ? null : string.Create(CultureInfo.InvariantCulture, $"{order.Quantity:0.######} {(order.Quantity == 1 ? "item" : "items")}");
        return Of(TimelineType.Order, order.Id, order.OriginCustomerId ?? order.CustomerId, order.PlacedAt, Parts(items, order.Total.ToText(), Unless("completed", order.Status)), order.Version);
    }

    public static TimelineEntry Of(InvoiceRecorded invoice) => Of(
        TimelineType.Invoice, invoice.Id, invoice.OriginCustomerId ?? invoice.CustomerId, invoice.IssuedAt, Parts(invoice.Number, invoice.Total.ToText(), invoice.Status), invoice.Version);

    public static TimelineEntry Of(PaymentRecorded payment) => Of(
        TimelineType.Payment, payment.Id, payment.OriginCustomerId ?? payment.CustomerId, payment.PaidAt, Parts(payment.Amount.ToText(), payment.Method, Unless("succeeded", payment.Status)), payment.Version);

    public static TimelineEntry Of(CaseChanged change) => Of(
        TimelineType.Case, change.Id, change.OriginCustomerId ?? change.CustomerId, change.OpenedAt, WithText($"{change.Type}, {change.Status}", change.Subject), change.Version);

    /// <summary>A message is sent once: its first version is its last.</summary>
    public static TimelineEntry Of(MessageSent message) => Of(
        TimelineType.Message, message.Id, message.OriginCustomerId ?? message.CustomerId, message.SentAt, WithText($"{message.Channel}, {message.CampaignName}", message.Subject), 1) with
    {
        AskedGroups = message.AskedGroups?.ToArray(),
    };

    private static TimelineEntry Of(TimelineType type, string id, string origin, DateTimeOffset at, string summary, long version) =>
        new(type, KindOf(type).Parse(id), Ids.Customer.Parse(origin), Ids.Customer.Parse(origin), at, summary, version);

    private static IdKind KindOf(TimelineType type) => type switch
    {
        TimelineType.Interaction => Ids.Interaction,
        TimelineType.Order => Ids.Order,
        TimelineType.Invoice => Ids.Invoice,
        TimelineType.Payment => Ids.Payment,
        TimelineType.Case => Ids.Case,
        TimelineType.Message => Ids.Message,
        _ => throw new InvalidOperationException($"{type} has no ids."),
    };

    private string Readable(params ReadOnlySpan<string> groups)
    {
        foreach (var group in groups)
        {
            if (CallerRights.Current.Read(group) != FieldAccess.Allow)
            {
                return Type.ToWord();
            }
        }

        return Summary;
    }

    private static string Parts(params IEnumerable<string?> parts) => string.Join(", ", parts.Where(p => !string.IsNullOrEmpty(p)));

    private static string? Unless(string usual, string status) => status == usual ? null : status;

    private static string WithText(string what, string? text) => string.IsNullOrEmpty(text) ? what : $"{what}: {text}";
}

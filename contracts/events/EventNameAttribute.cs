using MassTransit;

namespace Crm.Contracts.Events;

/// <summary>
/// The wire name of an integration event, written once: exchange and URN are <c>crm.</c> and this name.
/// Fields are only ever added; a change of meaning is a new version beside the old one.
/// </summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class EventNameAttribute(string name) : MessageUrnAttribute($"crm.{name}", useDefaultPrefix: true)
{
    /// <summary>For example <c>contacts.customer-registered.v1</c>.</summary>
    public string Name { get; } = name;

    /// <summary>The exchange on the bus.</summary>
    public string Exchange => $"crm.{Name}";

    /// <summary>The service that publishes it.</summary>
    public string Publisher => Name[..Name.IndexOf('.', StringComparison.Ordinal)];
}

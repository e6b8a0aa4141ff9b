namespace Crm.Contracts;

/// <summary>An amount in minor units of an ISO 4217 currency: 2390 USD is 23.90 dollars.</summary>
public sealed record Money(long AmountMinor, string Currency);

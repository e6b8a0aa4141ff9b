using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Rights;
using System.ComponentModel.DataAnnotations;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Domain;

public enum Subscription
{
    None,
    Active,
    Canceled,
}

/// <summary>A customer's account with a billing provider. Two customers who both pay in one source are not merged.</summary>
internal sealed class BillingAccount : IOwnedRow
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "billing_account";

    private BillingAccount()
    {
    }

    public Guid Id { get; private set; }
    public Guid CustomerId { get; private set; }
    public Guid OriginCustomerId { get; private set; }
    public string Source { get; private set; } = "";
    public string? ProviderCustomerId { get; private set; }
    public Subscription Subscription { get; private set; }
    public long Version { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }

    /// <summary>By a customer id of the provider's, or an active subscription.</summary>
    public bool Pays => ProviderCustomerId is not null || Subscription == Subscription.Active;

    public static BillingAccount Open(Guid customer, string source, BillingAccountInput input, DateTimeOffset now)
    {
        var account = new BillingAccount { Id = Guid.CreateVersion7(now), CustomerId = customer, OriginCustomerId = customer, Source = source, CreatedAt = now };
        account.Take(input, now);
        return account;
    }

    public bool Says(BillingAccountInput input) => (ProviderCustomerId, Subscription) == (input.ProviderCustomerId, input.Subscription!.Value);

    /// <summary>False when it says the same already.</summary>
    public bool Replace(BillingAccountInput input, DateTimeOffset now)
    {
        if (Says(input))
        {
            return false;
        }

        Take(input, now);
        return true;
    }

    private void Take(BillingAccountInput input, DateTimeOffset now)
    {
        (ProviderCustomerId, Subscription) = (input.ProviderCustomerId, input.Subscription!.Value);
        Version++;
        UpdatedAt = now;
    }
}

/// <summary>An account as its provider knows it.</summary>
public sealed record BillingAccountInput
{
    /// <summary>The customer's id with the provider.</summary>
    [Line(200)]
    [FieldGroup(FieldGroups.Finance)]
    public string? ProviderCustomerId { get; init; }

    [Required]
    public Subscription? Subscription { get; init; }
}

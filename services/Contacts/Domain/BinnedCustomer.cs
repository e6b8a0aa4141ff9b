namespace Crm.Contacts.Domain;

/// <summary>A customer in the recycle bin: who put it there, why, and until when it can be brought back.</summary>
internal sealed class BinnedCustomer
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "recycle_bin";

    private BinnedCustomer()
    {
    }

    public Guid CustomerId { get; private set; }
    public string? Reason { get; private set; }
    public string Actor { get; private set; } = "";
    public DateTimeOffset DeletedAt { get; private set; }

    /// <summary>Then it is erased, unless a legal hold forbids it.</summary>
    public DateTimeOffset KeepUntil { get; private set; }
    public Customer Customer { get; private set; } = null!;

    /// <summary>What the erasure of a customer who was not brought back says of its cause.</summary>
    public string Cause => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"Deleted on {DeletedAt:yyyy-MM-dd} and not restored by {KeepUntil:yyyy-MM-dd}");

    public static BinnedCustomer Of(Customer customer, string? reason, string actor, int retentionDays, DateTimeOffset now) => new()
    {
        CustomerId = customer.Id,
        Customer = customer,
        Reason = reason,
        Actor = actor,
        DeletedAt = now,
        KeepUntil = now.AddDays(retentionDays),
    };
}

using System.Text.Json;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;

namespace Crm.Contacts.Domain;

public enum CustomerKind
{
    Person,
    Organization,
}

public enum CustomerState
{
    Active,
    Merged,
    Erased,

    /// <summary>Made by an import that was undone.</summary>
    Removed,
}

public enum Lifecycle
{
    Prospect,
    Enquiry,
    ActiveBuyer,
    Lapsed,
    Former,
    WonBack,
}

public enum SourceType
{
    Former,
    Lapsed,
    Enquiry,
    ExistingBuyer,
    Referral,
    Competitor,
    Campaign,
    Import,
}

public enum Tier
{
    Standard,
    Silver,
    Gold,
    Vip,
}

public enum ContactPointType
{
    Home,
    Work,
    Mobile,
    Billing,
    Shipping,
    Other,
}

/// <summary>A person or an organisation: the platform's only truth about who somebody is.</summary>
internal sealed class Customer : IAggregate
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "customer";

    private Customer()
    {
    }

    public Guid Id { get; private set; }
    public long Version { get; private set; }
    public long EventSequence { get; set; }
    public CustomerKind Kind { get; private set; }
    public string? GivenName { get; private set; }
    public string? FamilyName { get; private set; }
    public string? Name { get; private set; }
    public string DisplayName { get; private set; } = "";
    public string SearchName { get; private set; } = "";
    public List<Email> Emails { get; private set; } = [];
    public List<Phone> Phones { get; private set; } = [];
    public List<Address> Addresses { get; private set; } = [];
    public DateOnly? BirthDate { get; private set; }
    public string? Locale { get; private set; }
    public string? TimeZone { get; private set; }
    public Lifecycle Lifecycle { get; private set; }
    public SourceType? SourceType { get; private set; }
    public Guid? SourceReferrerId { get; private set; }
    public string? SourceDetail { get; private set; }
    public string? Department { get; private set; }
    public Tier Tier { get; private set; }
    public Dictionary<string, JsonElement> Attributes { get; private set; } = [];
    public CustomerState State { get; private set; }
    public Guid? SurvivorId { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }
    public List<CustomerIdentifier> Identifiers { get; private set; } = [];
    public List<ExternalId> ExternalIds { get; private set; } = [];

    public static Customer Register(CustomerInput input, DateTimeOffset now)
    {
        var customer = new Customer { Id = Guid.CreateVersion7(now), CreatedAt = now };
        customer.Take(input);
        customer.Version = 1;
        customer.UpdatedAt = now;
        return customer;
    }

    /// <summary>Takes the new state whole; the names of the API fields that changed, none when nothing did.</summary>
    public IReadOnlyList<string> Change(CustomerInput input, DateTimeOffset now)
    {
        var before = ToInput();
        var after = input.Normalized();
        var changed = CustomerInput.Differences(before, after);
        if (changed.Count > 0)
        {
            Take(after);
            Version++;
            UpdatedAt = now;
        }

        return changed;
    }

    /// <summary>Its import was undone: only the id and what was counted by it stay.</summary>
    public void Remove(DateTimeOffset now)
    {
        State = CustomerState.Removed;
        GivenName = FamilyName = Name = Locale = TimeZone = Department = SourceDetail = null;
        BirthDate = null;
        SourceReferrerId = null;
        DisplayName = SearchName = "";
        Emails = [];
        Phones = [];
        Addresses = [];
        Attributes = [];
        Identifiers.Clear();
        ExternalIds.Clear();
        Version++;
        UpdatedAt = now;
    }

    /// <summary>The writable fields as they are now: what a merge patch is applied to.</summary>
    public CustomerInput ToInput() => new()
    {
        Kind = Kind,
        GivenName = GivenName,
        FamilyName = FamilyName,
        Name = Name,
        Emails = Emails,
        Phones = Phones,
        Addresses = Addresses,
        BirthDate = BirthDate,
        Locale = Locale,
        TimeZone = TimeZone,
        Lifecycle = Lifecycle,
        Source = SourceType is { } type ? new Source { Type = type, ReferrerId = Ids.Customer.Format(SourceReferrerId), Detail = SourceDetail } : null,
        Department = Department,
        Tier = Tier,
        ExternalIds = [.. ExternalIds.OrderBy(e => e.System, StringComparer.Ordinal).ThenBy(e => e.Value, StringComparer.Ordinal)
            .Select(e => new ExternalIdInput { System = e.System, Id = e.Value })],
        Attributes = Attributes,
    };

    public CustomerSnapshot Snapshot() => new(
        Ids.Customer.Format(Id),
        Version,
        Kind.ToWord(),
        DisplayName,
        GivenName,
        FamilyName,
        Emails.FirstOrDefault(e => e.Primary is true)?.Address,
        Addresses.FirstOrDefault(a => a.Primary is true)?.Country,
        Locale,
        TimeZone,
        Lifecycle.ToWord(),
        Tier.ToWord(),
        Department,
        Attributes,
        State.ToWord(),
        Ids.Customer.Format(SurvivorId),
        CreatedAt,
        UpdatedAt);

    private void Take(CustomerInput raw)
    {
        var input = raw.Normalized();
        Kind = input.Kind!.Value;
        GivenName = input.GivenName;
        FamilyName = input.FamilyName;
        Name = input.Name;
        DisplayName = Kind == CustomerKind.Organization ? Name! : string.Join(' ', new[] { GivenName, FamilyName }.Where(n => n is not null));
        SearchName = TextFolding.Fold(DisplayName);
        Emails = input.Emails!;
        Phones = input.Phones!;
        Addresses = input.Addresses!;
        BirthDate = input.BirthDate;
        Locale = input.Locale;
        TimeZone = input.TimeZone;
        Lifecycle = input.Lifecycle!.Value;
        SourceType = input.Source?.Type;
        SourceReferrerId = Ids.Customer.TryParse(input.Source?.ReferrerId, out var referrer) ? referrer : null;
        SourceDetail = input.Source?.Detail;
        Department = input.Department;
        Tier = input.Tier!.Value;
        Attributes = input.Attributes!;
        Replace(Identifiers,
            [.. Emails.Select(e => new CustomerIdentifier(CustomerIdentifier.Email, e.Address.ToLowerInvariant())),
             .. Phones.Select(p => new CustomerIdentifier(CustomerIdentifier.Phone, p.Number))],
            i => (i.Kind, i.Value));
        Replace(ExternalIds, [.. input.ExternalIds!.Select(e => new ExternalId(e.System!, e.Id!))], e => (e.System, e.Value));
    }

    /// <summary>Touches only the rows that came or went.</summary>
    private static void Replace<T, TKey>(List<T> rows, List<T> wanted, Func<T, TKey> key) where TKey : notnull
    {
        var keep = wanted.Select(key).ToHashSet();
        rows.RemoveAll(r => !keep.Contains(key(r)));
        var have = rows.Select(key).ToHashSet();
        rows.AddRange(wanted.Where(w => have.Add(key(w))));
    }
}

/// <summary>A normalised e-mail address or phone number, for search and the check at entry.</summary>
internal sealed class CustomerIdentifier(string kind, string value)
{
    public const string Email = "email";
    public const string Phone = "phone";

    public string Kind { get; private set; } = kind;
    public string Value { get; private set; } = value;
    public Guid CustomerId { get; private set; }
}

/// <summary>The customer's id in another system; no two customers have the same.</summary>
internal sealed class ExternalId(string system, string value)
{
    public string System { get; private set; } = system;
    public string Value { get; private set; } = value;
    public Guid CustomerId { get; private set; }
}

using System.Text.Json;
using Crm.Contacts.Domain.Merges;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Crm.Hosting.Web;

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

    /// <summary>In the recycle bin: whole, and out of sight until it is brought back or erased.</summary>
    Deleted,
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
    public string Tier { get; private set; } = Domain.Tier.Standard;
    public Dictionary<string, JsonElement> Attributes { get; private set; } = [];

    /// <summary>Sorted.</summary>
    public List<string> Tags { get; private set; } = [];

    public CustomerState State { get; private set; }
    public Guid? SurvivorId { get; private set; }

    /// <summary>Where the fields come from, of a customer who has absorbed others.</summary>
    public FieldLayers? Layers { get; private set; }

    /// <summary>A merged customer's; the rows are the survivor's.</summary>
    public List<ExternalIdInput>? OwnExternalIds { get; private set; }

    /// <summary>Ids that stand for this customer.</summary>
    public List<Guid> MergedFrom { get; private set; } = [];

    /// <summary>Under which others are looked for that may be the same customer; the rows of <c>duplicate_keys</c> follow from them.</summary>
    public long[]? MatchKeys { get; private set; }

    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }
    public List<CustomerIdentifier> Identifiers { get; private set; } = [];
    public List<ExternalId> ExternalIds { get; private set; } = [];

    /// <summary>Not read with the customer: new steps only.</summary>
    public List<LifecycleChange> LifecycleChanges { get; private set; } = [];

    /// <exception cref="ProblemException">422 when the input does not say how the customer was won.</exception>
    public static Customer Register(CustomerInput input, string actor, DateTimeOffset now)
    {
        if (input.Source is null)
        {
            throw new ProblemException(ProblemCodes.Unprocessable, "Say how the customer was won: a new customer has a source.", new FieldError("/source", "required"));
        }

        var customer = new Customer { Id = Guid.CreateVersion7(now), CreatedAt = now };
        customer.Take(input);
        customer.Version = 1;
        customer.UpdatedAt = now;
        customer.LifecycleChanges.Add(LifecycleChange.To(customer, from: null, LifecycleCause.Created, actor, now));
        return customer;
    }

    /// <summary>Takes the new state whole; the names of the API fields that changed, none when nothing did.</summary>
    public IReadOnlyList<string> Change(CustomerInput input, string actor, DateTimeOffset now)
    {
        var before = ToInput();
        var after = input.Normalized();
        var changed = CustomerInput.Differences(before, after);
        if (changed.Count > 0)
        {
            Layers = Layers?.Add(EditLayer.Between(before, after, now));
            Take(after);
            Advance(now);
            if (before.Lifecycle != Lifecycle)
            {
                LifecycleChanges.Add(LifecycleChange.To(this, before.Lifecycle, LifecycleCause.Edited, actor, now));
            }
        }

        return changed;
    }

    /// <summary>A rule found that the lifecycle is another one; false when it is this one already.</summary>
    public bool Move(Lifecycle to, DateTimeOffset now)
    {
        if (Lifecycle == to)
        {
            return false;
        }

        Lifecycle = to;
        Advance(now);
        return true;
    }

    /// <summary>
    /// A tag has another name now, or none (null): in what a merge would give back, too. False when the tags are the same;
    /// then nobody need hear of it.
    /// </summary>
    public bool Retag(string from, string? to, DateTimeOffset now)
    {
        Layers = Layers?.Retag(from, to);
        if (!Tags.Contains(from))
        {
            return false;
        }

        Tags = Tag.Replaced(Tags, from, to);
        Advance(now);
        return true;
    }

    /// <summary>After a merge or its undo, which have advanced the version: what the steps of all members come to.</summary>
    public void SettleLifecycle(Lifecycle held) => Lifecycle = held;

    /// <summary>At a merge somebody chose whose lifecycle goes on; <paramref name="held"/> would have.</summary>
    public void KeepChosenLifecycle(Lifecycle held, Guid mergeId, string actor, DateTimeOffset now)
    {
        if (Lifecycle != held)
        {
            LifecycleChanges.Add(LifecycleChange.To(this, held, LifecycleCause.Merge, actor, now, mergeId: mergeId));
        }
    }

    /// <summary>Its import was undone: only the id and what was counted by it stay.</summary>
    public void Remove(DateTimeOffset now)
    {
        State = CustomerState.Removed;
        Identifiers.Clear();
        ExternalIds.Clear();
        Strip();
        Advance(now);
    }

    /// <summary>Into the recycle bin: it keeps everything, and is found by nothing but its id and its external ids.</summary>
    public void Delete(DateTimeOffset now)
    {
        State = CustomerState.Deleted;
        Identifiers.Clear();
        Advance(now);
    }

    /// <summary>Out of the recycle bin, as it went in.</summary>
    public void BringBack(DateTimeOffset now)
    {
        State = CustomerState.Active;
        Take(ToInput());
        Advance(now);
    }

    /// <summary>Nothing is left but the id, whom it stood for, and that there was somebody; the rows of others go by <see cref="Features.Erasures.ErasureSteps"/>.</summary>
    public void Erase(DateTimeOffset now)
    {
        State = CustomerState.Erased;
        Strip();
        (Lifecycle, Tier, SourceType, Layers, OwnExternalIds) = (Lifecycle.Prospect, Domain.Tier.Standard, null, null, null);
        Advance(now);
    }

    private void Strip()
    {
        GivenName = FamilyName = Name = Locale = TimeZone = Department = SourceDetail = null;
        BirthDate = null;
        SourceReferrerId = null;
        DisplayName = SearchName = "";
        Emails = [];
        Phones = [];
        Addresses = [];
        Attributes = [];
        Tags = [];
        MatchKeys = [];
    }

    /// <summary>Becomes this customer, who keeps its id, and all of the others. They keep their own fields for an undo.</summary>
    public void Absorb(IReadOnlyList<Customer> others, MergeLayer merge)
    {
        var before = ToInput();
        var ids = others.Prepend(this).SelectMany(c => c.AllIds()).ToHashSet();
        Layers = (Layers ?? new FieldLayers(before, [])).Add(merge);
        foreach (var other in others)
        {
            other.OwnExternalIds = other.ToInput().ExternalIds;
            ExternalIds.AddRange(other.ExternalIds);
            other.ExternalIds.Clear();
            other.Identifiers.Clear();
            (other.State, other.SurvivorId) = (CustomerState.Merged, Id);
            other.Advance(merge.At);
        }

        var own = others.ToDictionary(o => o.Id, o => o.ToInput());
        var fields = FieldJson.Of(before);
        merge.ApplyTo(fields, id => own[id], ids);
        MergedFrom = [.. MergedFrom.Concat(others.SelectMany(o => o.AllIds())).Distinct()];
        Take(FieldJson.ToInput(fields));
        Advance(merge.At);
    }

    /// <summary>Is itself again, with what it had; <paramref name="present"/> has its external ids.</summary>
    /// <param name="free">Which of its external ids nobody has taken meanwhile, of those that <paramref name="present"/> has not.</param>
    public void Restore(Customer present, Func<ExternalIdInput, bool> free, DateTimeOffset now)
    {
        var own = ToInput();
        (State, SurvivorId, OwnExternalIds) = (CustomerState.Active, null, null);
        foreach (var wanted in own.ExternalIds!)
        {
            if (present.ExternalIds.Find(e => e.System == wanted.System && e.Value == wanted.Id) is { } row)
            {
                present.ExternalIds.Remove(row);
                ExternalIds.Add(row);
            }
        }

        Take(own with { ExternalIds = [.. own.ExternalIds!.Where(e => ExternalIds.Exists(r => r.System == e.System && r.Value == e.Id) || free(e))] });
        Advance(now);
    }

    /// <summary>The fields without a merge, or as the members are now.</summary>
    /// <param name="members">All whom it has absorbed directly.</param>
    /// <param name="lost">External ids that belong to somebody else again.</param>
    public void Refold(Guid? without, IReadOnlyDictionary<Guid, Customer> members, IReadOnlyCollection<ExternalIdInput> lost, DateTimeOffset now)
    {
        var folded = Layers!.Fold(Id, members, without);
        Layers = without is { } merge ? Layers.Without(merge) : Layers;
        MergedFrom = MergedIds(members);
        Take(folded with { ExternalIds = [.. folded.ExternalIds!.Except(lost)] });
        Advance(now);
    }

    /// <summary>Another customer has the value of a unique attribute since this one was merged; the undo has advanced the version.</summary>
    public void GiveUp(string attribute) => Attributes = Attributes.Where(a => a.Key != attribute).ToDictionary(StringComparer.Ordinal);

    /// <summary>Its own, and those that stand for it.</summary>
    public IEnumerable<Guid> AllIds() => MergedFrom.Prepend(Id);

    private List<Guid> MergedIds(IReadOnlyDictionary<Guid, Customer> members) =>
        [.. (Layers?.Members ?? []).SelectMany(m => members[m].AllIds()).Distinct()];

    private void Advance(DateTimeOffset now)
    {
        Version++;
        UpdatedAt = now;
    }

    /// <summary>The writable fields as they are now: what a merge patch is applied to. Of a merged customer, its own.</summary>
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
        ExternalIds = OwnExternalIds ?? [.. ExternalIds.OrderBy(e => e.System, StringComparer.Ordinal).ThenBy(e => e.Value, StringComparer.Ordinal)
            .Select(e => new ExternalIdInput { System = e.System, Id = e.Value })],
        Attributes = Attributes,
        Tags = Tags,
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
        Tier,
        Department,
        Attributes,
        State.ToWord(),
        Ids.Customer.Format(SurvivorId),
        CreatedAt,
        UpdatedAt,
        Tags);

    private void Take(CustomerInput raw)
    {
        var input = raw.Normalized();
        Kind = input.Kind!.Value;
        GivenName = input.GivenName;
        FamilyName = input.FamilyName;
        Name = input.Name;
        DisplayName = input.DisplayName();
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
        Tier = input.Tier!;
        Attributes = input.Attributes!;
        Tags = input.Tags!;
        MatchKeys = CustomerMatching.MatchKeysOf(input.ToMatchFields(Id));
        if (State == CustomerState.Merged)
        {
            // Found by nothing but its id.
            OwnExternalIds = input.ExternalIds;
            return;
        }

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

using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain.Merges;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain;

public enum ChangeRequestStatus
{
    Pending,
    Approved,
    Rejected,
    Withdrawn,

    /// <summary>Somebody else changed what it is based on before it was decided.</summary>
    Outdated,
}

/// <summary>What is to be done when it is approved.</summary>
public enum ChangeOperation
{
    ChangeCustomer,
    DeleteCustomer,
    CreateRelationship,
    ChangeRelationship,
    DeleteRelationship,
    AssignAccountManager,
    MergeCustomers,
    UndoMerge,
}

/// <summary>An operation as somebody wants it who may not do it at once.</summary>
/// <param name="Wanted">Its body; of <see cref="ChangeOperation.ChangeCustomer"/> a merge patch.</param>
/// <param name="Before">What it is based on: the same members as they are, or the versions of the records.</param>
/// <param name="Subject">The relationship or the merge that it is about.</param>
/// <param name="Concerned">The customers that it changes; only the one that it is filed under when left out.</param>
internal sealed record WantedChange(ChangeOperation Operation, JsonObject Wanted, JsonObject Before, Guid? Subject = null, IReadOnlyList<Guid>? Concerned = null)
{
    /// <summary>Null when the customer is so already.</summary>
    /// <param name="also">By their names, fields that are asked for though they are so already.</param>
    public static WantedChange? Between(Customer customer, CustomerInput wanted, JsonObject? also = null)
    {
        var (was, becomes) = (FieldJson.Of(customer.ToInput()), FieldJson.Of(wanted));
        var (before, after) = (new JsonObject(), new JsonObject());
        foreach (var name in was.Select(m => m.Key).Where(n => !JsonNode.DeepEquals(was[n], becomes[n]) || also?.ContainsKey(n) is true))
        {
            var alsoOf = (also?[name] as JsonObject)?.Select(m => m.Key).ToList() ?? [];
            (before[name], after[name]) = name == FieldJson.Attributes
                ? (Differing(was[name]!.AsObject(), becomes[name]!.AsObject(), alsoOf), Differing(becomes[name]!.AsObject(), was[name]!.AsObject(), alsoOf))
                : (was[name]?.DeepClone(), becomes[name]?.DeepClone());
        }

        return after.Count == 0 ? null : new(ChangeOperation.ChangeCustomer, after, before);
    }

    /// <summary>The members that the other has not, or differently; null for those that only the other has.</summary>
    private static JsonObject Differing(JsonObject one, JsonObject other, IReadOnlyCollection<string> also) =>
        new(one.Select(m => m.Key).Union(other.Select(m => m.Key)).Union(also).Where(n => !JsonNode.DeepEquals(one[n], other[n]) || also.Contains(n)).Select(n => KeyValuePair.Create(n, one[n]?.DeepClone())));
}

/// <summary>A department's part in the approval of a merge.</summary>
/// <param name="ApprovedBy">Who approved it for the department.</param>
public sealed record DepartmentApproval(string Department, string ApprovedBy, DateTimeOffset At);

/// <summary>What somebody wants done to a record of another department, and what that department made of it.</summary>
internal sealed class ChangeRequest : IAggregate, IOwnedRow
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "change_request";

    private ChangeRequest()
    {
    }

    public Guid Id { get; private set; }
    public long EventSequence { get; set; }
    public Guid CustomerId { get; private set; }

    /// <summary>For whom it was made.</summary>
    public Guid OriginCustomerId { get; private set; }
    public ChangeOperation Operation { get; private set; }
    public ChangeRequestStatus Status { get; private set; }

    /// <summary>The customer's, when it was made.</summary>
    public long RecordVersion { get; private set; }

    /// <inheritdoc cref="WantedChange"/>
    public JsonObject Before { get; private set; } = [];

    /// <inheritdoc cref="WantedChange"/>
    public JsonObject Wanted { get; private set; } = [];

    /// <inheritdoc cref="WantedChange"/>
    public Guid? SubjectId { get; private set; }

    /// <summary>The customers that it changes.</summary>
    public List<Guid> Concerned { get; private set; } = [];
    public string RequestedBy { get; private set; } = "";
    public List<string> RequesterRoles { get; private set; } = [];
    public List<string> RequesterDepartments { get; private set; } = [];
    public DateTimeOffset RequestedAt { get; private set; }

    /// <summary>Of a merge: the departments that have approved it so far.</summary>
    public List<DepartmentApproval> Approvals { get; private set; } = [];
    public string? DecidedBy { get; private set; }
    public DateTimeOffset? DecidedAt { get; private set; }

    /// <summary>Why it was rejected.</summary>
    public string? Reason { get; private set; }

    /// <summary>The entry of the customer's history that it became.</summary>
    public Guid? HistoryId { get; private set; }

    /// <summary>All entries of the audit log that it became.</summary>
    public List<Guid> HistoryIds { get; private set; } = [];
    public Customer Customer { get; private set; } = null!;

    /// <summary>Of a merge: several customers may belong to several departments.</summary>
    public bool IsOfMerge => Operation is ChangeOperation.MergeCustomers or ChangeOperation.UndoMerge;

    /// <summary>Of whole customers: nobody merges those meanwhile.</summary>
    public bool HoldsConcerned => IsOfMerge || Operation == ChangeOperation.DeleteCustomer;

    public static ChangeRequest Of(Customer customer, WantedChange wanted, string requester, IEnumerable<string> roles, IEnumerable<string> departments, DateTimeOffset now) => new()
    {
        Id = Guid.CreateVersion7(now),
        CustomerId = customer.Id,
        OriginCustomerId = customer.Id,
        Operation = wanted.Operation,
        RecordVersion = customer.Version,
        Before = wanted.Before,
        Wanted = wanted.Wanted,
        SubjectId = wanted.Subject,
        Concerned = [.. wanted.Concerned ?? [customer.Id]],
        RequestedBy = requester,
        RequesterRoles = [.. roles],
        RequesterDepartments = [.. departments],
        RequestedAt = now,
    };

    /// <summary>The departments that a merge is asked of.</summary>
    public IReadOnlyCollection<string> Asked => [.. (Wanted["departments"] as JsonArray ?? []).Select(d => (string)d!)];

    /// <summary>The customers that it tells of.</summary>
    public IEnumerable<Guid> Named => Operation == ChangeOperation.CreateRelationship && Ids.Customer.TryParse((string?)Wanted["to_id"], out var other) ? [.. Concerned, other] : Concerned;

    /// <summary>The same is wanted, of the same state.</summary>
    public bool Asks(WantedChange wanted) => (Operation, SubjectId) == (wanted.Operation, wanted.Subject)
        && JsonNode.DeepEquals(Wanted, wanted.Wanted) && JsonNode.DeepEquals(Before, wanted.Before);

    public T Body<T>() => Wanted.Deserialize<T>(JsonDefaults.Options)!;

    /// <summary>What it touches in the customer that it was made for is neither as it was nor as it is to be.</summary>
    public bool IsOvertakenBy(CustomerInput present)
    {
        if (Operation != ChangeOperation.ChangeCustomer)
        {
            return false;
        }

        var now = FieldJson.Of(present);
        return Wanted.Any(w => w.Key == FieldJson.Attributes
            ? w.Value!.AsObject().Any(a => Differs(now[w.Key]![a.Key], Before[w.Key]![a.Key], a.Value))
            : Differs(now[w.Key], Before[w.Key], w.Value));
    }

    /// <summary>A merge or a deletion is asked for of records in certain versions.</summary>
    public bool IsOvertakenBy(Guid customer, long version) =>
        Operation is ChangeOperation.MergeCustomers or ChangeOperation.DeleteCustomer && Before["versions"]?[Ids.Customer.Format(customer)] is { } asked && (long)asked != version;

    /// <summary>False when it is so already.</summary>
    /// <exception cref="RuleViolationException">Something else was decided before.</exception>
    public bool MayBecome(ChangeRequestStatus status) => Status == ChangeRequestStatus.Pending
        || (Status == status ? false : throw new RuleViolationException("This was decided before, in another way."));

    /// <summary>False when they all had approved it before.</summary>
    public bool ApproveFor(IEnumerable<string> departments, string approver, DateTimeOffset now)
    {
        var added = departments.Where(d => !IsApprovedBy(d)).Select(d => new DepartmentApproval(d, approver, now)).ToList();
        Approvals = [.. Approvals, .. added];
        return added.Count > 0;
    }

    public bool IsApprovedBy(string department) => Approvals.Exists(a => a.Department == department);

    /// <inheritdoc cref="MayBecome"/>
    public bool Approve(string approver, DateTimeOffset now) => Decide(ChangeRequestStatus.Approved, null, approver, now);

    /// <summary>What the approval made of it.</summary>
    /// <param name="ofCustomer">In the history of the customer; null when it was so already.</param>
    /// <param name="all">Every entry of the audit log.</param>
    public void Became(Guid? ofCustomer, IEnumerable<Guid> all) => (HistoryId, HistoryIds) = (ofCustomer, [.. all]);

    /// <inheritdoc cref="MayBecome"/>
    public bool Reject(string reason, string approver, DateTimeOffset now) => Decide(ChangeRequestStatus.Rejected, reason, approver, now);

    /// <inheritdoc cref="MayBecome"/>
    public bool Withdraw(string requester, DateTimeOffset now) => Decide(ChangeRequestStatus.Withdrawn, null, requester, now);

    /// <summary>Its approval found that what it is based on is no more.</summary>
    public void Outlive() => Status = ChangeRequestStatus.Outdated;

    /// <summary>Who changed what it is based on ended it.</summary>
    /// <inheritdoc cref="MayBecome"/>
    public bool Overtake(string actor, DateTimeOffset now) => Decide(ChangeRequestStatus.Outdated, null, actor, now);

    public ChangeRequestChanged Changed() => new(
        Ids.ChangeRequest.Format(Id), Ids.Customer.Format(CustomerId), Operation.ToWord(), Status.ToWord(), DecidedAt ?? RequestedAt);

    private bool Decide(ChangeRequestStatus status, string? reason, string actor, DateTimeOffset now)
    {
        if (!MayBecome(status))
        {
            return false;
        }

        (Status, Reason, DecidedBy, DecidedAt) = (status, reason, actor, now);
        return true;
    }

    private static bool Differs(JsonNode? present, JsonNode? before, JsonNode? wanted) => !JsonNode.DeepEquals(present, before) && !JsonNode.DeepEquals(present, wanted);
}

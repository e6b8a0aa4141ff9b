using System.Text.Json.Nodes;
using Crm.Contacts.Domain.Merges;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain;

public enum ChangeRequestStatus
{
    Pending,
    Approved,
    Rejected,
    Withdrawn,

    /// <summary>Somebody else changed what it touches before it was decided.</summary>
    Outdated,
}

/// <summary>What somebody wants changed in a record of another department, and what that department made of it.</summary>
internal sealed class ChangeRequest
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "change_request";

    private ChangeRequest()
    {
    }

    public Guid Id { get; private set; }
    public Guid CustomerId { get; private set; }

    /// <summary>For whom it was made.</summary>
    public Guid OriginCustomerId { get; private set; }
    public ChangeRequestStatus Status { get; private set; }

    /// <summary>The customer's, when it was made.</summary>
    public long RecordVersion { get; private set; }

    /// <summary>The fields that it touches, and of the attributes those, as they were.</summary>
    public JsonObject Before { get; private set; } = [];

    /// <summary>The same as they are to be: a merge patch.</summary>
    public JsonObject Wanted { get; private set; } = [];
    public string RequestedBy { get; private set; } = "";
    public List<string> RequesterRoles { get; private set; } = [];
    public DateTimeOffset RequestedAt { get; private set; }
    public string? DecidedBy { get; private set; }
    public DateTimeOffset? DecidedAt { get; private set; }

    /// <summary>Why it was rejected.</summary>
    public string? Reason { get; private set; }

    /// <summary>The entry of the customer's history that it became.</summary>
    public Guid? HistoryId { get; private set; }
    public Customer Customer { get; private set; } = null!;

    /// <summary>Null when the customer is so already.</summary>
    public static ChangeRequest? Of(Customer customer, CustomerInput wanted, string requester, IReadOnlyList<string> roles, DateTimeOffset now)
    {
        var (was, becomes) = (FieldJson.Of(customer.ToInput()), FieldJson.Of(wanted));
        var (before, after) = (new JsonObject(), new JsonObject());
        foreach (var name in was.Select(m => m.Key).Where(n => !JsonNode.DeepEquals(was[n], becomes[n])))
        {
            (before[name], after[name]) = name == FieldJson.Attributes
                ? (Differing(was[name]!.AsObject(), becomes[name]!.AsObject()), Differing(becomes[name]!.AsObject(), was[name]!.AsObject()))
                : (was[name]?.DeepClone(), becomes[name]?.DeepClone());
        }

        return after.Count == 0 ? null : new()
        {
            Id = Guid.CreateVersion7(now),
            CustomerId = customer.Id,
            OriginCustomerId = customer.Id,
            RecordVersion = customer.Version,
            Before = before,
            Wanted = after,
            RequestedBy = requester,
            RequesterRoles = [.. roles],
            RequestedAt = now,
        };
    }

    /// <summary>What it touches is neither as it was nor as it is to be.</summary>
    public bool IsOvertakenBy(CustomerInput present)
    {
        var now = FieldJson.Of(present);
        return Wanted.Any(w => w.Key == FieldJson.Attributes
            ? w.Value!.AsObject().Any(a => Differs(now[w.Key]![a.Key], Before[w.Key]![a.Key], a.Value))
            : Differs(now[w.Key], Before[w.Key], w.Value));
    }

    /// <summary>False when it is so already.</summary>
    /// <exception cref="RuleViolationException">Something else was decided before.</exception>
    public bool MayBecome(ChangeRequestStatus status) => Status == ChangeRequestStatus.Pending
        || (Status == status ? false : throw new RuleViolationException("This was decided before, in another way."));

    /// <inheritdoc cref="MayBecome"/>
    public bool Approve(Guid? historyId, string approver, DateTimeOffset now)
    {
        if (!Decide(ChangeRequestStatus.Approved, null, approver, now))
        {
            return false;
        }

        HistoryId = historyId;
        return true;
    }

    /// <inheritdoc cref="MayBecome"/>
    public bool Reject(string reason, string approver, DateTimeOffset now) => Decide(ChangeRequestStatus.Rejected, reason, approver, now);

    /// <inheritdoc cref="MayBecome"/>
    public bool Withdraw(string requester, DateTimeOffset now) => Decide(ChangeRequestStatus.Withdrawn, null, requester, now);

    /// <inheritdoc cref="MayBecome"/>
    public bool Overtake(string approver, DateTimeOffset now) => Decide(ChangeRequestStatus.Outdated, null, approver, now);

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

    /// <summary>The members that the other has not, or differently; null for those that only the other has.</summary>
    private static JsonObject Differing(JsonObject one, JsonObject other) =>
        new(one.Select(m => m.Key).Union(other.Select(m => m.Key)).Where(n => !JsonNode.DeepEquals(one[n], other[n])).Select(n => KeyValuePair.Create(n, one[n]?.DeepClone())));
}

using System.ComponentModel.DataAnnotations;
using Crm.Hosting.Data;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain.Retention;

/// <summary>What a policy says: the body of create, and what a merge patch is applied to.</summary>
public sealed record RetentionPolicyInput
{
    public const int MostErasures = 1000;

    /// <summary>For people, and in the reason of its erasures.</summary>
    [Required, Line(120)]
    public string? Name { get; init; }

    /// <summary>Of the customers whom it is about.</summary>
    [Required, MinLength(1, ErrorMessage = "too_few|At least one."), AtMost(6)]
    public List<Lifecycle>? Lifecycles { get; init; }

    /// <summary>Who was not used for so many days is erased.</summary>
    [Required, Range(30, 36_500)]
    public int? UnusedForDays { get; init; }

    /// <summary>Customers that one run erases at most, the longest unused first; 1000 when it is not given.</summary>
    [Range(1, 100_000)]
    public int? EraseAtMost { get; init; }

    /// <summary>Whether it runs by itself; false when it is not given.</summary>
    public bool? Active { get; init; }
}

/// <summary>
/// For how long customers of some lifecycles are kept with whom nobody has anything to do. It is never deleted: the
/// reports of its runs refer to it.
/// </summary>
internal sealed class RetentionPolicy
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "retention_policy";

    private RetentionPolicy()
    {
    }

    public Guid Id { get; private set; }
    public long Version { get; private set; }
    public string Name { get; private set; } = "";

    /// <summary>Words of <see cref="Lifecycle"/>, in its order.</summary>
    public List<string> Lifecycles { get; private set; } = [];
    public int UnusedForDays { get; private set; }
    public int EraseAtMost { get; private set; }
    public bool Active { get; private set; }

    /// <summary>Null while it is not active.</summary>
    public DateTimeOffset? NextRunAt { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }

    public static RetentionPolicy Define(RetentionPolicyInput input, DateTimeOffset now)
    {
        var policy = new RetentionPolicy { Id = Guid.CreateVersion7(now), CreatedAt = now };
        policy.Change(input, now);
        return policy;
    }

    /// <summary>False when nothing differs. One that becomes active runs at once.</summary>
    public bool Change(RetentionPolicyInput input, DateTimeOffset now)
    {
        List<string> lifecycles = [.. input.Lifecycles!.Distinct().Order().Select(l => l.ToWord())];
        var (most, active) = (input.EraseAtMost ?? RetentionPolicyInput.MostErasures, input.Active ?? false);
        if (Version > 0 && (Name, UnusedForDays, EraseAtMost, Active) == (input.Name!, input.UnusedForDays!.Value, most, active) && Lifecycles.SequenceEqual(lifecycles))
        {
            return false;
        }

        NextRunAt = !active ? null : Active ? NextRunAt : now;
        (Name, Lifecycles, UnusedForDays, EraseAtMost, Active) = (input.Name!, lifecycles, input.UnusedForDays!.Value, most, active);
        UpdatedAt = now;
        Version++;
        return true;
    }

    public RetentionPolicyInput ToInput() => new()
    {
        Name = Name,
        Lifecycles = Lifecycles.ConvertAll(EnumWords<Lifecycle>.Parse),
        UnusedForDays = UnusedForDays,
        EraseAtMost = EraseAtMost,
        Active = Active,
    };

    public void RunAgainAt(DateTimeOffset at) => NextRunAt = at;
}

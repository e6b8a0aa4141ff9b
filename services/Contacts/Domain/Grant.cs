using System.ComponentModel.DataAnnotations;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain;

/// <summary>Of what a department gives another one something.</summary>
public enum GrantScope
{
    /// <summary>One customer, as long as it belongs to the owner.</summary>
    Customer,

    /// <summary>The fields of one group in all records of the owner.</summary>
    FieldGroup,

    /// <summary>All records of the owner.</summary>
    All,
}

public enum GrantAccess
{
    Read,

    /// <summary>To change without approval; it lets read too.</summary>
    Write,
}

public enum GrantStatus
{
    Active,
    Expired,
    Revoked,
}

/// <summary>What a department lets another one do with its records, until it is revoked or expires.</summary>
internal sealed class Grant : IAggregate
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "grant";

    private Grant()
    {
    }

    public Guid Id { get; private set; }
    public long Version { get; private set; }
    public long EventSequence { get; set; }

    /// <summary>Whose records they are.</summary>
    public string OwnerDepartment { get; private set; } = "";

    /// <summary>Who may.</summary>
    public string GranteeDepartment { get; private set; } = "";

    /// <summary>Null: all customers of the owner.</summary>
    public Guid? CustomerId { get; private set; }

    /// <summary>Null: the whole records.</summary>
    public string? FieldGroup { get; private set; }
    public GrantAccess Access { get; private set; }
    public DateTimeOffset? ExpiresAt { get; private set; }
    public string Reason { get; private set; } = "";
    public string GrantedBy { get; private set; } = "";
    public DateTimeOffset GrantedAt { get; private set; }

    /// <summary>Revoked, or replaced after it had expired.</summary>
    public DateTimeOffset? EndedAt { get; private set; }
    public string? RevokedBy { get; private set; }

    public GrantScope Scope => CustomerId is not null ? GrantScope.Customer : FieldGroup is not null ? GrantScope.FieldGroup : GrantScope.All;

    public static Grant Make(GrantInput input, Guid? customer, string actor, DateTimeOffset now) => new()
    {
        Id = Guid.CreateVersion7(now),
        Version = 1,
        OwnerDepartment = input.OwnerDepartment!,
        GranteeDepartment = input.GranteeDepartment!,
        CustomerId = customer,
        FieldGroup = input.FieldGroup,
        Access = input.Access!.Value,
        ExpiresAt = input.ExpiresAt,
        Reason = input.Reason!,
        GrantedBy = actor,
        GrantedAt = now,
    };

    public GrantStatus StatusAt(DateTimeOffset now) => RevokedBy is not null ? GrantStatus.Revoked : EndedAt is not null || ExpiresAt <= now ? GrantStatus.Expired : GrantStatus.Active;

    /// <summary>False when it holds no more already.</summary>
    public bool Revoke(string actor, DateTimeOffset now)
    {
        if (StatusAt(now) != GrantStatus.Active)
        {
            return false;
        }

        (EndedAt, RevokedBy) = (now, actor);
        Version++;
        return true;
    }

    /// <summary>It has expired, and another like it takes its place.</summary>
    public void GiveWay()
    {
        EndedAt = ExpiresAt;
        Version++;
    }

    public GrantChanged Changed() => new(
        Ids.Grant.Format(Id), Version, OwnerDepartment, GranteeDepartment, Ids.Customer.Format(CustomerId), FieldGroup, Access.ToWord(), ExpiresAt, EndedAt is not null);
}

/// <summary>What a department is to let another one do.</summary>
public sealed record GrantInput : IValidatableObject
{
    /// <summary>Whose records they are.</summary>
    [Required, Slug]
    public string? OwnerDepartment { get; init; }

    /// <summary>Who may.</summary>
    [Required, Slug]
    public string? GranteeDepartment { get; init; }

    /// <summary>Of <c>customer</c> with <c>customer_id</c>, of <c>field_group</c> with <c>field_group</c>, or of <c>all</c>.</summary>
    [Required]
    public GrantScope? Scope { get; init; }

    public string? CustomerId { get; init; }

    [Line(64)]
    public string? FieldGroup { get; init; }

    [Required]
    public GrantAccess? Access { get; init; }

    /// <summary>From then on it holds no more; never when left out.</summary>
    public DateTimeOffset? ExpiresAt { get; init; }

    /// <summary>Why.</summary>
    [Required, Line(500)]
    public string? Reason { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (OwnerDepartment == GranteeDepartment)
        {
            yield return new("same_department|A department needs no grant of its own.", [nameof(GranteeDepartment)]);
        }

        if ((Scope == GrantScope.Customer) != (CustomerId is not null))
        {
            yield return CustomerId is null ? new("required|Which customer.", [nameof(CustomerId)]) : new("not_allowed|Only with the scope customer.", [nameof(CustomerId)]);
        }

        if (CustomerId is not null && !Ids.Customer.TryParse(CustomerId, out _))
        {
            yield return new("wrong_format|A customer id, cus_….", [nameof(CustomerId)]);
        }

        if ((Scope == GrantScope.FieldGroup) != (FieldGroup is not null))
        {
            yield return FieldGroup is null ? new("required|Which field group.", [nameof(FieldGroup)]) : new("not_allowed|Only with the scope field_group.", [nameof(FieldGroup)]);
        }

        if (FieldGroup is not null && !FieldGroups.All.Contains(FieldGroup))
        {
            yield return new($"unknown_value|One of {string.Join(", ", FieldGroups.All)}.", [nameof(FieldGroup)]);
        }

        if (ExpiresAt <= ((TimeProvider?)validationContext.GetService(typeof(TimeProvider)) ?? TimeProvider.System).GetUtcNow())
        {
            yield return new("out_of_range|That is over.", [nameof(ExpiresAt)]);
        }
    }
}

namespace Crm.Contacts.Domain.Duplicates;

public enum IdentifierKind
{
    Email,
    Phone,
}

/// <summary>An e-mail address or phone number that many share: it never counts as agreement.</summary>
internal sealed record BlockedIdentifier(Guid Id, IdentifierKind Kind, string Value, string Reason, string Actor, DateTimeOffset CreatedAt)
{
    public const string RecordType = "blocked_identifier";
}

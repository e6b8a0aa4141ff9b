namespace Crm.Contracts;

/// <summary>The groups of fields of <c>policy.json</c>.</summary>
public static class FieldGroups
{
    public const string Names = "names";
    public const string ContactDetails = "contact_details";
    public const string Identity = "identity";
    public const string CustomFields = "custom_fields";
    public const string Finance = "finance";
    public const string Notes = "notes";
    public const string ConsentProof = "consent_proof";

    public static readonly IReadOnlyList<string> All = [Names, ContactDetails, Identity, CustomFields, Finance, Notes, ConsentProof];

    /// <summary>Members that are what they are called wherever they stand, though nobody marked them.</summary>
    public static readonly IReadOnlyDictionary<string, string> ByName = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["display_name"] = Names,
        ["given_name"] = Names,
        ["family_name"] = Names,
        ["birth_date"] = Identity,
    };
}

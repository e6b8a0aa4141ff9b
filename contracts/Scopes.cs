namespace Crm.Contracts;

/// <summary>What a key or a token may do: a resource and a verb.</summary>
public static class Scopes
{
    public const string CustomersRead = "customers:read";
    public const string CustomersWrite = "customers:write";
    /// <summary>Define what an installation keeps in the attributes of customers.</summary>
    public const string CustomFieldsWrite = "custom-fields:write";
    public const string ConsentsRead = "consents:read";
    public const string ConsentsWrite = "consents:write";
    public const string ImportsRead = "imports:read";
    public const string ImportsWrite = "imports:write";
    public const string MergesRead = "merges:read";
    public const string MergesWrite = "merges:write";
    public const string ErasuresRead = "erasures:read";
    public const string ErasuresWrite = "erasures:write";
    /// <summary>All that the platform knows of a person, whatever else the key may read.</summary>
    public const string ExportsRead = "exports:read";
    public const string ExportsWrite = "exports:write";
    public const string LegalHoldsRead = "legal-holds:read";
    public const string LegalHoldsWrite = "legal-holds:write";
    public const string RetentionRead = "retention:read";
    /// <summary>Say for how long customers are kept whom nobody deals with any more; who is over that is erased.</summary>
    public const string RetentionWrite = "retention:write";
    /// <summary>What customers of a tier are entitled to; everybody who reads customers reads it.</summary>
    public const string TiersWrite = "tiers:write";
    public const string GrantsRead = "grants:read";
    /// <summary>Let other departments read or change what the own one owns.</summary>
    public const string GrantsWrite = "grants:write";
    /// <summary>Describe tags, rename and remove them; who writes customers uses them.</summary>
    public const string TagsWrite = "tags:write";
    public const string InteractionsRead = "interactions:read";
    public const string InteractionsWrite = "interactions:write";
    public const string BillingRead = "billing:read";
    public const string BillingWrite = "billing:write";
    public const string CasesRead = "cases:read";
    public const string CasesWrite = "cases:write";
    public const string SegmentsRead = "segments:read";
    public const string SegmentsWrite = "segments:write";
    public const string CampaignsRead = "campaigns:read";
    public const string CampaignsWrite = "campaigns:write";

    /// <summary>Create and revoke API keys; the administrator's.</summary>
    public const string KeysAdmin = "keys:admin";

    public static readonly IReadOnlyList<string> All =
    [
        CustomersRead, CustomersWrite, CustomFieldsWrite, ConsentsRead, ConsentsWrite, MergesRead, MergesWrite, ErasuresRead, ErasuresWrite, ExportsRead, ExportsWrite, LegalHoldsRead, LegalHoldsWrite, RetentionRead, RetentionWrite,
        ImportsRead, ImportsWrite, TiersWrite, TagsWrite, GrantsRead, GrantsWrite, InteractionsRead, InteractionsWrite, BillingRead, BillingWrite,
        CasesRead, CasesWrite, SegmentsRead, SegmentsWrite, CampaignsRead, CampaignsWrite, KeysAdmin,
    ];
}

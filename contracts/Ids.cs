namespace Crm.Contracts;

/// <summary>Every id prefix of the platform, written once.</summary>
public static class Ids
{
    public static readonly IdKind Customer = new("cus");
    public static readonly IdKind Consent = new("con");
    public static readonly IdKind Import = new("imp");
    public static readonly IdKind Merge = new("mrg");
    public static readonly IdKind Erasure = new("ers");
    public static readonly IdKind Export = new("exp");
    public static readonly IdKind LegalHold = new("hld");
    public static readonly IdKind RetentionPolicy = new("rtp");
    public static readonly IdKind RetentionRun = new("rtr");

    public static readonly IdKind Duplicate = new("dup");
    public static readonly IdKind DuplicateScan = new("dsc");
    public static readonly IdKind BlockedIdentifier = new("blk");

    public static readonly IdKind CustomField = new("cfd");
    public static readonly IdKind Tag = new("tag");

    /// <summary>An entry of a record's history.</summary>
    public static readonly IdKind History = new("his");

    public static readonly IdKind LifecycleChange = new("lif");
    public static readonly IdKind Relationship = new("rel");
    public static readonly IdKind AccountManager = new("acm");
    public static readonly IdKind ChangeRequest = new("chg");

    /// <summary>What a department lets another one do with its records.</summary>
    public static readonly IdKind Grant = new("grt");

    public static readonly IdKind Interaction = new("int");

    public static readonly IdKind Segment = new("seg");
    public static readonly IdKind Campaign = new("cmp");
    public static readonly IdKind Message = new("msg");

    public static readonly IdKind Product = new("prd");
    public static readonly IdKind Order = new("ord");
    public static readonly IdKind Invoice = new("inv");
    public static readonly IdKind Payment = new("pay");

    public static readonly IdKind Case = new("cas");
    public static readonly IdKind CaseMessage = new("csm");

    public static readonly IdKind Key = new("key");

    /// <summary>Of a projection.</summary>
    public static readonly IdKind Rebuild = new("rbd");
}

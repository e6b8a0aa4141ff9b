namespace Crm.Hosting.Rights;

/// <summary>
/// The field group that a member of a request or an answer belongs to: whoever may not read the group does not see it,
/// whoever may not write it is refused. A list that is masked passes on to the members of its entries.
/// </summary>
[AttributeUsage(AttributeTargets.Property | AttributeTargets.Parameter)]
public sealed class FieldGroupAttribute(string group) : Attribute
{
    public string Group { get; } = group;
}

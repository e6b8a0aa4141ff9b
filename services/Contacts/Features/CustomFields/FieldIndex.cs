using Crm.Contacts.Domain.CustomFields;
using Crm.Hosting.Data;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>
/// The index of a field: its value and the customer's id, so that a page of the list is read in order. The expression has a
/// value only for what the type allows, so no row can make it fail.
/// </summary>
internal static class FieldIndex
{
    public const string Prefix = "customers_attribute_";
    public const string UniquePrefix = "customers_unique_";

    /// <summary>Who counts for it: of a merged customer the survivor's value does.</summary>
    public const string UniqueStates = "state IN ('active', 'deleted')";

    /// <summary>A row of an index has at most 2704 bytes.</summary>
    public const int LongestText = FieldValue.LongestUnique;

    /// <summary>Of the field with this type: an index on another expression has another name.</summary>
    public static string NameOf(CustomField field) => $"{Prefix}{field.Id:n}_{field.Type.ToWord()}";

    public static string UniqueNameOf(CustomField field) => $"{UniquePrefix}{field.Id:n}_{field.Type.ToWord()}";

    public static string ExpressionOf(CustomField field)
    {
        // A slug has no quote.
        var (value, text) = ($"(attributes -> '{field.Name}')", $"(attributes ->> '{field.Name}')");
        return field.Type switch
        {
            CustomFieldType.Number or CustomFieldType.Integer => $"(CASE WHEN jsonb_typeof{value} = 'number' AND length{text} <= 100 THEN {text}::numeric END)",
            CustomFieldType.Date => $"((CASE WHEN {text} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$' THEN {text} END) COLLATE \"C\")",
            CustomFieldType.Instant => $"((CASE WHEN {text} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9:]{{8}}[.][0-9]{{6}}Z$' THEN {text} END) COLLATE \"C\")",
            CustomFieldType.Money => $"(CASE WHEN jsonb_typeof({value} -> '{FieldValue.AmountMinor}') = 'number' AND length({value} ->> '{FieldValue.AmountMinor}') <= 100 THEN ({value} ->> '{FieldValue.AmountMinor}')::numeric END)",
            CustomFieldType.Boolean => $"((CASE WHEN jsonb_typeof{value} = 'boolean' THEN {text} END) COLLATE \"C\")",
            _ => $"((CASE WHEN jsonb_typeof{value} = 'string' THEN {BeginningOf(text)} END) COLLATE \"C\")",
        };
    }

    /// <summary>What comes before the value in the index: amounts are compared with those of the same currency. Null of other types.</summary>
    public static string? CurrencyOf(CustomField field) => field.Type == CustomFieldType.Money ? $"((attributes -> '{field.Name}' ->> '{FieldValue.Currency}') COLLATE \"C\")" : null;

    /// <summary>As much of a text as the index has.</summary>
    public static string BeginningOf(string text) => $"left({text}, {LongestText})";

    public static string CreateSql(CustomField field) => $"""
        CREATE INDEX CONCURRENTLY {NameOf(field)} ON customers ({Expressions(field)}, id) WHERE state = 'active' AND {ExpressionOf(field)} IS NOT NULL
        """;

    public static string CreateUniqueSql(CustomField field) => $"""
        CREATE UNIQUE INDEX CONCURRENTLY {UniqueNameOf(field)} ON customers ({ExpressionOf(field)}) WHERE {UniqueStates} AND {ExpressionOf(field)} IS NOT NULL
        """;

    /// <summary>Of a partial index the planner takes no statistics; these are of the same name.</summary>
    public static string CreateStatisticsSql(CustomField field) => $"CREATE STATISTICS IF NOT EXISTS {NameOf(field)} ON {Expressions(field)} FROM customers";

    private static string Expressions(CustomField field) => CurrencyOf(field) is { } currency ? $"{currency}, {ExpressionOf(field)}" : ExpressionOf(field);
}

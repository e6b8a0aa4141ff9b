using System.Text;
using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contracts;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>
/// <c>attributes.NAME=</c> and, of numbers, money, dates and instants, <c>attributes.NAME[gte]=</c>, <c>[gt]</c>, <c>[lte]</c> and
/// <c>[lt]</c>: by fields that are defined and indexed, with values of their type. The value of a unique field that an absorbed
/// customer had finds the survivor. Amounts are compared with those of the same
/// currency: <c>1250 EUR</c>.
/// </summary>
internal static class AttributeFilter
{
    public const string Parameter = "attributes.*";
    private const string Prefix = "attributes.";

    private static readonly Dictionary<string, string> Operators = new(StringComparer.Ordinal) { ["[gte]"] = ">=", ["[gt]"] = ">", ["[lte]"] = "<=", ["[lt]"] = "<" };

    /// <summary>The customers whose attributes are as the request asks; all when it does not.</summary>
    /// <exception cref="ProblemException">400 naming the parameter; 403 when the caller may not see the field.</exception>
    public static async Task<IQueryable<Customer>> WithAttributesAsync(this ContactsDb db, HttpRequest request, CancellationToken ct)
    {
        var asked = request.Query.Where(q => q.Key.StartsWith(Prefix, StringComparison.Ordinal)).Select(q => (Parameter: q.Key, Text: q.Value.ToString())).ToList();
        if (asked.Count == 0)
        {
            return db.Customers;
        }

        CallerRights.Current.RequireRead(FieldGroups.CustomFields, asked[0].Parameter);
        var fields = await db.ReadFieldsAsync(ct);
        var sql = new StringBuilder("SELECT * FROM customers WHERE true");
        var values = new List<object>();
        foreach (var (parameter, text) in asked)
        {
            var bracket = parameter.IndexOf('[', StringComparison.Ordinal);
            var field = Find(fields, parameter, bracket < 0 ? parameter[Prefix.Length..] : parameter[Prefix.Length..bracket]);
            if (bracket < 0)
            {
                var value = Read(field, parameter, text);
                if (field.UniqueState == FieldIndexState.Ready && field.KeyOf(value) is { } key && (await db.SurvivorsAsync(field, [key], ct)).TryGetValue(key, out var survivor))
                {
                    sql.Append(" AND (id = ").Append(Value(survivor)).Append(" OR (true");
                    AddEquality(field, value);
                    sql.Append("))");
                }
                else
                {
                    AddEquality(field, value);
                }
            }
            else
            {
                AddRange(field, parameter, parameter[bracket..], Read(field, parameter, text));
            }
        }

        return db.Customers.FromSqlRaw(sql.ToString(), [.. values]);

        void AddEquality(CustomField field, JsonElement value)
        {
            // While the index is not there yet, and of a text of which it has the beginning only.
            if (field.IndexState != FieldIndexState.Ready || (value.ValueKind == JsonValueKind.String && value.GetString()!.Length >= FieldIndex.LongestText))
            {
                sql.Append(" AND attributes @> ").Append(Value(JsonSerializer.Serialize(new Dictionary<string, JsonElement> { [field.Name] = value }))).Append("::jsonb");
            }

            if (field.IndexState == FieldIndexState.Ready)
            {
                AddCurrency(field, value);
                var indexed = Value(Indexed(value));
                sql.Append(" AND ").Append(UniqueValues.Escaped(FieldIndex.ExpressionOf(field))).Append(" = ").Append(value.ValueKind == JsonValueKind.String ? FieldIndex.BeginningOf(indexed) : indexed);
            }
        }

        void AddRange(CustomField field, string parameter, string bracket, JsonElement value)
        {
            if (field.Type is not (CustomFieldType.Number or CustomFieldType.Money or CustomFieldType.Integer or CustomFieldType.Date or CustomFieldType.Instant) || !Operators.TryGetValue(bracket, out var comparison))
            {
                throw ProblemException.InvalidParameter(parameter, "Numbers, money, dates and instants have the ranges [gte], [gt], [lte] and [lt]; other fields are compared as they are.");
            }

            if (field.IndexState != FieldIndexState.Ready)
            {
                throw ProblemException.InvalidParameter(parameter, $"The index of {field.Name} is not ready yet: it is {field.IndexState?.ToWord() ?? "not there"}.");
            }

            AddCurrency(field, value);
            sql.Append(" AND ").Append(UniqueValues.Escaped(FieldIndex.ExpressionOf(field))).Append(' ').Append(comparison).Append(' ').Append(Value(Indexed(value)));
        }

        void AddCurrency(CustomField field, JsonElement value)
        {
            if (FieldIndex.CurrencyOf(field) is { } currency)
            {
                sql.Append(" AND ").Append(UniqueValues.Escaped(currency)).Append(" = ").Append(Value(value.GetProperty(FieldValue.Currency).GetString()!));
            }
        }

        string Value(object value)
        {
            values.Add(value);
            return string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{{{values.Count - 1}}}");
        }
    }

    private static CustomField Find(FieldCatalog fields, string parameter, string name)
    {
        if (fields.Find(name) is not { } field)
        {
            throw ProblemException.InvalidParameter(parameter, "This installation has no such field.");
        }

        CallerRights.Current.RequireRead(field.FieldGroup, parameter);
        return field.IndexState is not null ? field : throw ProblemException.InvalidParameter(parameter, $"{name} is not indexed, so nobody is found by it.");
    }

    private static JsonElement Read(CustomField field, string parameter, string text) =>
        field.Parse(text) ?? throw ProblemException.InvalidParameter(parameter, field.Expected());

    private static object Indexed(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Number => value.GetDecimal(),
        JsonValueKind.String => value.GetString()!,
        JsonValueKind.Object => value.GetProperty(FieldValue.AmountMinor).GetDecimal(),
        _ => value.GetBoolean() ? "true" : "false",
    };
}

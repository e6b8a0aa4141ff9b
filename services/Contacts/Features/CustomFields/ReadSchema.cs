using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>
/// What may be in the <c>attributes</c> of a customer of this installation, as a JSON Schema 2020-12; with <c>kind</c> of a
/// person or an organization. Archived fields and options are deprecated, archived fields read-only.
/// </summary>
internal static class ReadSchema
{
    public static readonly string[] Parameters = ["kind"];

    public static async Task<JsonHttpResult<JsonObject>> Handle(HttpRequest request, ContactsDb db, IOptions<CustomFieldOptions> options, CancellationToken ct)
    {
        var kind = request.ReadWord<CustomerKind>("kind");
        var fields = (await db.CustomFields.AsNoTracking().OrderBy(f => f.Name).ToListAsync(ct)).Where(f => kind is null || f.Has(kind.Value)).ToList();
        // Without a kind only what every customer needs.
        var required = fields.Where(f => f.Required && !f.IsArchived && (kind is not null || f.AppliesTo == AppliesTo.Both)).Select(f => (JsonNode)f.Name);
        var schema = new JsonObject
        {
            ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
            ["title"] = kind is null ? "Attributes of a customer" : $"Attributes of {(kind == CustomerKind.Person ? "a person" : "an organization")}",
            ["type"] = "object",
            ["properties"] = new JsonObject(fields.Select(f => KeyValuePair.Create(f.Name, (JsonNode?)Of(f)))),
            ["required"] = new JsonArray([.. required]),
            ["maxProperties"] = CustomerInput.MostAttributes,
            ["propertyNames"] = new JsonObject { ["pattern"] = "^[a-z0-9][a-z0-9_.-]{0,63}$" },
            ["additionalProperties"] = options.Value.Strict
                ? false
                : new JsonObject { ["type"] = new JsonArray("string", "number", "boolean"), ["maxLength"] = CustomerInput.LongestAttribute },
        };
        return TypedResults.Json(schema, contentType: "application/schema+json");
    }

    private static JsonObject Of(CustomField field)
    {
        var schema = new JsonObject { ["title"] = field.Label };
        if (field.Description is not null)
        {
            schema["description"] = field.Description;
        }

        schema["type"] = field.Type switch
        {
            CustomFieldType.Number => "number",
            CustomFieldType.Integer => "integer",
            CustomFieldType.Boolean => "boolean",
            CustomFieldType.Money => "object",
            _ => "string",
        };
        switch (field.Type)
        {
            case CustomFieldType.Date:
                schema["format"] = "date";
                break;
            case CustomFieldType.Instant:
                schema["format"] = "date-time";
                break;
            case CustomFieldType.Url:
                (schema["format"], schema["maxLength"]) = ("uri", LongestOf(field));
                break;
            case CustomFieldType.Text:
                schema["maxLength"] = LongestOf(field);
                break;
            case CustomFieldType.Integer:
                (schema["minimum"], schema["maximum"]) = (-FieldValue.LargestInteger, FieldValue.LargestInteger);
                break;
            case CustomFieldType.Money:
                schema["properties"] = new JsonObject
                {
                    [FieldValue.AmountMinor] = new JsonObject { ["type"] = "integer", ["minimum"] = -FieldValue.LargestAmount, ["maximum"] = FieldValue.LargestAmount },
                    [FieldValue.Currency] = new JsonObject { ["type"] = "string", ["pattern"] = "^[A-Z]{3}$" },
                };
                (schema["required"], schema["additionalProperties"]) = (new JsonArray(FieldValue.AmountMinor, FieldValue.Currency), false);
                break;
            case CustomFieldType.Choice:
                schema["oneOf"] = new JsonArray([.. field.Options.Select(Of)]);
                break;
        }

        if (field.IsArchived)
        {
            (schema["deprecated"], schema["readOnly"]) = (true, true);
        }

        return schema;
    }

    private static int LongestOf(CustomField field) => field.Unique ? FieldValue.LongestUnique : CustomerInput.LongestAttribute;

    private static JsonObject Of(CustomFieldOption option)
    {
        var schema = new JsonObject { ["const"] = option.Value, ["title"] = option.Label ?? option.Value };
        if (option.Archived is true)
        {
            schema["deprecated"] = true;
        }

        return schema;
    }
}

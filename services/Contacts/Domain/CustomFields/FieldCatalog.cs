using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain.CustomFields;

/// <summary>All definitions, and what they say of the attributes of a customer.</summary>
/// <param name="strict">No attribute is written that is not defined.</param>
/// <param name="mayWrite">Whether the caller writes the field group.</param>
internal sealed class FieldCatalog(IReadOnlyList<CustomField> fields, bool strict, Func<string, bool> mayWrite)
{
    private readonly Dictionary<string, CustomField> _byName = fields.ToDictionary(f => f.Name, StringComparer.Ordinal);

    /// <summary>Whether nothing was defined otherwise.</summary>
    public bool IsSameAs(FieldCatalog other) =>
        _byName.Count == other._byName.Count && _byName.Values.All(f => other.Find(f.Name) is { } same && (f.Id, f.Version) == (same.Id, same.Version));

    /// <summary>Those of which no two customers have the same value.</summary>
    public IReadOnlyList<CustomField> Unique { get; } = [.. fields.Where(f => f.UniqueState is not (null or FieldIndexState.Failed))];

    public CustomField? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>
    /// The attributes as they are stored. What does not change is not looked at: values that are older than their definition
    /// stay, and so do those of archived fields.
    /// </summary>
    /// <param name="before">Null of a new customer.</param>
    /// <exception cref="ProblemException">400, or 403 <c>field_forbidden</c>, naming <c>/attributes/…</c>.</exception>
    public CustomerInput Check(CustomerInput? before, CustomerInput after)
    {
        var (had, has) = (before?.Attributes ?? [], after.Attributes ?? []);
        var isNew = before is null || before.Kind != after.Kind;
        RequireWritable(had, has);
        var stored = new Dictionary<string, JsonElement>(has, StringComparer.Ordinal);
        var errors = new List<FieldError>();
        foreach (var (name, value) in has)
        {
            var isOld = IsSame(had, name, value);
            if (isOld && !isNew)
            {
                // A number may be written in another way now.
                stored[name] = had[name];
                continue;
            }

            if (Error(name, value, after.Kind!.Value, isOld, out var canonical) is { } error)
            {
                errors.Add(error);
            }

            stored[name] = canonical;
        }

        errors.AddRange(fields.Where(f => f.Required && !f.IsArchived && f.Has(after.Kind!.Value) && !has.ContainsKey(f.Name) && (isNew || had.ContainsKey(f.Name)))
            .Select(f => new FieldError(Pointer(f.Name), "required", $"{f.Label} is required.")));
        return errors.Count > 0 ? throw ProblemException.Invalid(errors) : after with { Attributes = stored };
    }

    /// <summary>What a merge brings to the survivor: values that the others had already, of archived fields too.</summary>
    /// <exception cref="ProblemException">400 naming <c>/attributes/…</c>.</exception>
    public void CheckMerged(CustomerInput survivor, CustomerInput merged)
    {
        var had = survivor.Attributes ?? [];
        var errors = (merged.Attributes ?? []).Where(a => !IsSame(had, a.Key, a.Value))
            .Select(a => Find(a.Key) is { IsArchived: false } ? Error(a.Key, a.Value, merged.Kind!.Value, isOld: true, out _) : null).OfType<FieldError>().ToList();
        if (errors.Count > 0)
        {
            throw ProblemException.Invalid(errors);
        }
    }

    /// <summary>Whether the two have the same attributes, whichever way their numbers are written.</summary>
    public static bool IsSame(CustomerInput before, CustomerInput after)
    {
        var (had, has) = (before.Attributes ?? [], after.Attributes ?? []);
        return had.Count == has.Count && has.All(a => IsSame(had, a.Key, a.Value));
    }

    /// <summary>Takes the numbers that cannot be stored out of a customer as it came, before anything is compared with it.</summary>
    /// <returns>What is wrong with them.</returns>
    public List<FieldError> TakeBadNumbers(JsonObject members)
    {
        var attributes = members["attributes"] as JsonObject ?? [];
        var bad = attributes.Where(a => a.Value?.GetValueKind() is JsonValueKind.Number or JsonValueKind.Object && !FieldValue.Fits(JsonSerializer.SerializeToElement(a.Value)))
            .Select(a => a.Key).ToList();
        bad.ForEach(n => attributes.Remove(n));
        return bad.ConvertAll(n => Find(n) is { } field ? WrongValue(field) : WrongNumber(n));
    }

    /// <summary>A value that a file has as text; text as it is when no field of the name is defined.</summary>
    /// <exception cref="ProblemException">400 naming <c>/attributes/…</c>.</exception>
    public JsonElement Parse(string name, string text, string? dateFormat) => Find(name) is not { } field
        ? JsonSerializer.SerializeToElement(text)
        : field.Parse(text, dateFormat) ?? throw ProblemException.Invalid(WrongValue(field));

    /// <param name="isOld">The customer had it before its kind changed, or somebody else whom it absorbs.</param>
    private FieldError? Error(string name, JsonElement value, CustomerKind kind, bool isOld, out JsonElement canonical)
    {
        canonical = value;
        if (Find(name) is not { } field)
        {
            var plain = FieldValue.Plain(value);
            canonical = plain ?? value;
            return isOld ? null
                : strict ? new(Pointer(name), "unknown_field", "This installation has no such field.")
                : value.ValueKind == JsonValueKind.Object ? new(Pointer(name), "wrong_type", "Only a field that is defined as money is an object.")
                : plain is null ? WrongNumber(name)
                : null;
        }

        if (field.IsArchived)
        {
            return isOld ? null : new(Pointer(name), "archived", $"{field.Label} is archived: its values are kept and no longer written.");
        }

        if (!field.Has(kind))
        {
            return new(Pointer(name), "not_allowed", $"{field.Label} is not a field of {(kind == CustomerKind.Person ? "a person" : "an organization")}.");
        }

        if (field.Canonical(value) is not { } known)
        {
            return WrongValue(field);
        }

        canonical = known;
        if (field.Unique && known.ValueKind == JsonValueKind.String && known.GetString()!.Length > FieldValue.LongestUnique)
        {
            return new(Pointer(name), "too_long", $"{field.Label} is unique: at most {FieldValue.LongestUnique} characters.");
        }

        return !isOld && field.Type == CustomFieldType.Choice && field.Options.Find(o => o.Value == known.GetString()) is { Archived: true }
            ? new(Pointer(name), "archived", "The option is archived.")
            : null;
    }

    private void RequireWritable(Dictionary<string, JsonElement> had, Dictionary<string, JsonElement> has)
    {
        var hidden = had.Keys.Union(has.Keys, StringComparer.Ordinal)
            .Where(n => Find(n) is { } field && !mayWrite(field.FieldGroup) && !(had.ContainsKey(n) && has.TryGetValue(n, out var now) && IsSame(had, n, now)))
            .Select(n => new FieldError(Pointer(n), ProblemCodes.FieldForbidden.Code, $"The caller's roles do not write {Find(n)!.FieldGroup}.")).ToList();
        if (hidden.Count > 0)
        {
            throw new ProblemException(ProblemCodes.FieldForbidden, "The caller's roles do not reach these fields; see errors.", hidden);
        }
    }

    private static FieldError WrongValue(CustomField field) =>
        new(Pointer(field.Name), field.Type == CustomFieldType.Choice ? "unknown_value" : "wrong_type", field.Expected());

    private static FieldError WrongNumber(string name) => new(Pointer(name), "out_of_range", FieldValue.ExpectedNumber);

    public static string Pointer(string name) => $"/attributes/{name}";

    /// <summary>What cannot be stored is not compared as a number: there are exponents of which that throws.</summary>
    private static bool IsSame(Dictionary<string, JsonElement> had, string name, JsonElement value) =>
        had.TryGetValue(name, out var was) && (FieldValue.Fits(value) ? JsonElement.DeepEquals(was, value) : was.GetRawText() == value.GetRawText());
}

using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain.Imports;

/// <summary>How the columns of a file become the fields of a customer.</summary>
public sealed partial record ImportMapping : IValidatableObject
{
    internal const string ExpectedCallingCode = "A calling code such as +44.";
    internal const string ExpectedDateFormat = "A form of dates with day, month and year, such as dd/MM/yyyy.";

    private const int MostFields = 500;
    private const string CallingCodeForm = @"^\+[1-9][0-9]{0,3}$";

    /// <summary>
    /// By column (letter case does not matter) the field that it fills: <c>kind given_name family_name full_name name
    /// birth_date locale time_zone lifecycle department tier source.type source.detail email email.work phone phone.mobile
    /// address.lines address.city address.region address.postal_code address.country</c>, an address of a type
    /// (<c>address.shipping.city</c>), <c>external_id.&lt;system&gt;</c>, <c>attributes.&lt;name&gt;</c>,
    /// <c>tags</c>, several with <c>;</c> or <c>,</c> between them, in small letters and with <c>-</c> for blanks,
    /// <c>deleted</c>, which fails the row as <c>gone</c> unless it is empty, 0, no or false, or <c>ignore</c>. Of several
    /// columns for one field the first that is not empty counts; tags are those of all. Empty: the columns are called as
    /// the fields.
    /// </summary>
    public Dictionary<string, string>? Fields { get; init; }

    /// <summary>By field what a row has that says nothing; on a customer that exists already they change nothing.</summary>
    public Dictionary<string, string>? Defaults { get; init; }

    /// <summary>By field what values become: <c>{"lifecycle":{"Customer":"active_buyer"}}</c>; letter case does not matter.</summary>
    public Dictionary<string, Dictionary<string, string>>? Values { get; init; }

    /// <summary>
    /// Before phone numbers that are written without one, such as <c>+44</c>; a leading 0 goes, but in Italy and San Marino.
    /// Digits that begin with the code, and are more than a number of the country has, have it already: 442079460000.
    /// </summary>
    [RegularExpression(CallingCodeForm, ErrorMessage = $"wrong_format|{ExpectedCallingCode}")]
    public string? CallingCode { get; init; }

    /// <summary>Of dates that are not ISO 8601, such as <c>dd/MM/yyyy</c> (.NET's letters).</summary>
    [Line(40)]
    public string? DateFormat { get; init; }

    public static bool IsCallingCode(string text) => CallingCodePattern().IsMatch(text);

    /// <summary>Whether a date that is written so is read as the same date.</summary>
    public static bool IsDateFormat(string text)
    {
        var date = new DateTime(1987, 11, 23, 0, 0, 0, DateTimeKind.Unspecified);
        try
        {
            return DateTime.TryParseExact(date.ToString(text, CultureInfo.InvariantCulture), text, CultureInfo.InvariantCulture, DateTimeStyles.None, out var read) && read.Date == date;
        }
        catch (FormatException)
        {
            return false;
        }
    }

    /// <summary>Whether a date of ISO 8601 is read as another one, as with yyyy-dd-MM.</summary>
    public static bool MistakesIso(string text) =>
        DateTime.TryParseExact("1987-11-03", text, CultureInfo.InvariantCulture, DateTimeStyles.None, out var read) && read.Date != new DateTime(1987, 11, 3, 0, 0, 0, DateTimeKind.Unspecified);

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (DateFormat is not null && !IsDateFormat(DateFormat))
        {
            yield return new($"wrong_format|{ExpectedDateFormat}", [nameof(DateFormat)]);
        }

        if (Fields?.Count > MostFields || Defaults?.Count > MostFields || Values?.Count > MostFields)
        {
            yield return new($"too_many|At most {MostFields} entries.", [nameof(Fields)]);
        }

        foreach (var (column, target) in Fields ?? [])
        {
            if (string.IsNullOrWhiteSpace(column))
            {
                yield return new("too_short|A column has a name.", [At(nameof(Fields), column)]);
            }
            else if (ImportTarget.Parse(target) is null)
            {
                yield return Unknown(target, At(nameof(Fields), column));
            }
        }

        foreach (var (target, value) in Defaults ?? [])
        {
            if (ImportTarget.Parse(target) is not { } known)
            {
                yield return Unknown(target, At(nameof(Defaults), target));
            }
            else if (known.Kind is TargetKind.Ignore or TargetKind.Deleted)
            {
                yield return new("not_allowed|No field of a customer has this value.", [At(nameof(Defaults), target)]);
            }
            else if (value is null)
            {
                yield return new("wrong_type|The value is text.", [At(nameof(Defaults), target)]);
            }
        }

        foreach (var (target, values) in Values ?? [])
        {
            if (ImportTarget.Parse(target) is null)
            {
                yield return Unknown(target, At(nameof(Values), target));
            }
            else if (values is null || values.ContainsValue(null!))
            {
                yield return new("wrong_type|What values become is text.", [At(nameof(Values), target)]);
            }
            else if (values.Keys.Distinct(StringComparer.OrdinalIgnoreCase).Count() < values.Count)
            {
                yield return new("duplicate_field|A value is there twice; letter case does not matter.", [At(nameof(Values), target)]);
            }
        }

        static string At(string member, string name) => $"{member}['{name}']";

        static ValidationResult Unknown(string? target, string at) => new($"unknown_value|There is no field {(target is { Length: <= 80 } ? target : "of this name")}.", [at]);
    }

    [GeneratedRegex(CallingCodeForm, RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex CallingCodePattern();
}

/// <summary>A mapping under its name.</summary>
internal sealed class SavedMapping
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "import_mapping";

    public required string Name { get; init; }

    /// <summary>Under which the audit log has it.</summary>
    public required Guid Id { get; init; }
    public ImportMapping Definition { get; set; } = null!;
    public long Version { get; set; }
    public DateTimeOffset UpdatedAt { get; set; }
}

internal enum TargetKind
{
    Ignore,
    Scalar,
    FullName,
    Source,
    Email,
    Phone,
    Address,
    ExternalId,
    Attribute,
    Tags,

    /// <summary>Whether the product that wrote the file has the record no more.</summary>
    Deleted,
}

/// <summary>A field that a column can fill.</summary>
/// <param name="Name">Of the scalar, the part of the address or source, the system, the attribute.</param>
/// <param name="Type">Of the contact point.</param>
internal sealed record ImportTarget(string Text, TargetKind Kind, string Name, string? Type)
{
    private static readonly HashSet<string> Scalars =
        ["kind", "given_name", "family_name", "name", "birth_date", "locale", "time_zone", "lifecycle", "department", "tier"];

    private static readonly HashSet<string> AddressParts = ["lines", "city", "region", "postal_code", "country"];

    private static readonly HashSet<string> Types = [.. Enum.GetValues<ContactPointType>().Select(Hosting.Data.EnumColumns.ToWord)];

    /// <summary>Null when there is no such field.</summary>
    public static ImportTarget? Parse(string? text) => text is null ? null : text.Split('.', 3) switch
    {
        ["ignore"] => new(text, TargetKind.Ignore, "", null),
        ["tags"] => new(text, TargetKind.Tags, "", null),
        ["deleted"] => new(text, TargetKind.Deleted, "", null),
        ["full_name"] => new(text, TargetKind.FullName, "", null),
        [var name] when Scalars.Contains(name) => new(text, TargetKind.Scalar, name, null),
        ["source", "type" or "detail"] parts => new(text, TargetKind.Source, parts[1], null),
        ["email"] => new(text, TargetKind.Email, "", null),
        ["email", var type] when Types.Contains(type) => new(text, TargetKind.Email, "", type),
        ["phone"] => new(text, TargetKind.Phone, "", null),
        ["phone", var type] when Types.Contains(type) => new(text, TargetKind.Phone, "", type),
        ["address", var part] when AddressParts.Contains(part) => new(text, TargetKind.Address, part, null),
        ["address", var type, var part] when Types.Contains(type) && AddressParts.Contains(part) => new(text, TargetKind.Address, part, type),
        ["external_id", ..] when SlugAttribute.IsSlug(text["external_id.".Length..]) => new(text, TargetKind.ExternalId, text["external_id.".Length..], null),
        ["attributes", ..] when SlugAttribute.IsSlug(text["attributes.".Length..]) => new(text, TargetKind.Attribute, text["attributes.".Length..], null),
        _ => null,
    };
}

/// <summary>A mapping and the columns of one file, ready for its rows.</summary>
internal sealed class CompiledMapping
{
    private static readonly Dictionary<string, string> CountryCodes = CountriesByName();
    private static readonly string[] IsoDates = ["yyyy-MM-dd", "yyyy-MM-dd'T'HH:mm:ss.FFFK", "yyyy-MM-dd HH:mm:ss"];

    /// <summary>
    /// By calling code the digits of the longest usual number without it (ITU-T E.164 national numbering plans), where
    /// that decides: elsewhere a number with the code before it has more than <see cref="LongestNational"/>. In Brazil numbers
    /// of 11 digits begin with 55 themselves.
    /// </summary>
    private static readonly Dictionary<string, int> LongestNationals = new (int Digits, string Codes)[]
    {
        (7, "220 238 239 248 269 291 298 299 354 376 423 501 592 597 673 960"),
        (8, "45 47 65 372 507"),
        (9, "27 31 32 33 34 36 40 41 46 48 51 56 61 66 84 93 94"),
        (11, "55"),
    }.SelectMany(l => l.Codes.Split(' ').Select(code => (code, l.Digits))).ToDictionary(l => $"+{l.code}", l => l.Digits, StringComparer.Ordinal);

    private const int LongestNational = 10;

    private static readonly HashSet<string> No = new(StringComparer.OrdinalIgnoreCase) { "0", "no", "n", "false", "f" };

    private readonly ImportMapping _mapping;
    private readonly FieldCatalog _catalog;
    private readonly ImportTarget?[] _columns;
    private readonly Dictionary<string, ImportTarget>? _members;
    private readonly Dictionary<string, Dictionary<string, string>> _values;

    /// <param name="columns">Of a file that has them; none for NDJSON.</param>
    /// <param name="catalog">What the texts of a file are in attributes.</param>
    public CompiledMapping(ImportMapping mapping, IReadOnlyList<string> columns, FieldCatalog catalog)
    {
        _mapping = mapping;
        _catalog = catalog;
        _values = (mapping.Values ?? []).ToDictionary(v => v.Key, v => new Dictionary<string, string>(v.Value, StringComparer.OrdinalIgnoreCase), StringComparer.Ordinal);
        _members = mapping.Fields is { Count: > 0 } fields
            ? fields.DistinctBy(f => f.Key.Trim(), StringComparer.OrdinalIgnoreCase).ToDictionary(f => f.Key.Trim(), f => ImportTarget.Parse(f.Value)!, StringComparer.OrdinalIgnoreCase)
            : null;
        _columns = [.. columns.Select(c => _members is null ? ImportTarget.Parse(c.Trim()) : _members.GetValueOrDefault(c.Trim()))];
        Ignored = [.. columns.Where((_, i) => _columns[i] is null)];
    }

    /// <summary>Columns that fill nothing: told, so that nothing is lost in silence.</summary>
    public IReadOnlyList<string> Ignored { get; }

    /// <summary>False when no column fills anything.</summary>
    public bool FillsAnything => _columns.Any(c => c is not null and not { Kind: TargetKind.Ignore or TargetKind.Deleted });

    /// <summary>A row as the body of a merge patch of a customer.</summary>
    /// <param name="errors">Gets what is wrong with fields, which the patch has not.</param>
    /// <exception cref="ProblemException">The row cannot be read.</exception>
    public JsonObject Read(ImportFormat format, string body, List<FieldError> errors)
    {
        if (format.HasColumns())
        {
            var cells = JsonSerializer.Deserialize<string[]>(body) ?? [];
            if (cells.Length != _columns.Length)
            {
                throw ProblemException.Invalid(new FieldError("", "wrong_length", $"The row has {cells.Length} cells, the header {_columns.Length}."));
            }

            return Build(cells.Select((cell, i) => (_columns[i], Unguarded(cell))), errors);
        }

        JsonObject? line;
        try
        {
            line = JsonSerializer.Deserialize<JsonObject>(body, JsonDefaults.Options);
        }
        catch (JsonException exception)
        {
            throw Problems.DescribeJson(exception);
        }

        return line is null ? throw ProblemException.Invalid(new FieldError("", "wrong_type", "A row is an object.")) : _members is null ? line : Build(Flat(line, errors), errors);
    }

    /// <summary>What one value fills.</summary>
    /// <param name="errors">Gets what is wrong with it.</param>
    public JsonObject Of(ImportTarget target, string value, List<FieldError> errors) => Build([(target, value)], errors);

    /// <summary>EspoCRM and others write an apostrophe before what a spreadsheet would take for a formula, such as each <c>+44…</c>.</summary>
    private static string Unguarded(string cell) => cell is ['\'', '+' or '-' or '@' or '=', ..] ? cell[1..] : cell;

    /// <summary>Fills what neither the row nor the customer says: of new customers only.</summary>
    /// <param name="errors">Gets what is wrong with the defaults.</param>
    public void AddDefaults(JsonObject customer, List<FieldError> errors)
    {
        if (_mapping.Defaults is { Count: > 0 } defaults)
        {
            foreach (var (name, value) in Build(defaults.Select(d => (ImportTarget.Parse(d.Key), d.Value)), errors))
            {
                if (customer[name] is null)
                {
                    customer[name] = value!.DeepClone();
                }
                else if (value is JsonObject members && customer[name] is JsonObject there)
                {
                    foreach (var (member, inner) in members.Where(m => there[m.Key] is null).ToList())
                    {
                        there[member] = inner!.DeepClone();
                    }
                }
            }
        }

        customer["source"] ??= new JsonObject();
        CompleteSource(customer);
    }

    /// <summary>Who is not said to have come in another way came by the import.</summary>
    public static void CompleteSource(JsonObject customer)
    {
        if (customer["source"] is JsonObject source)
        {
            source["type"] ??= "import";
        }
    }

    private IEnumerable<(ImportTarget?, string)> Flat(JsonObject line, List<FieldError> errors)
    {
        // In the order of the mapping: of several members for one field the first counts.
        foreach (var (name, target) in _members!)
        {
            var member = line.FirstOrDefault(m => string.Equals(m.Key, name, StringComparison.OrdinalIgnoreCase)).Value;
            if (member is JsonValue value)
            {
                yield return (target, value.TryGetValue(out string? text) ? text : value.ToJsonString());
            }
            else if (member is JsonArray list && target.Kind == TargetKind.Tags && list.All(t => t is JsonValue tag && tag.TryGetValue(out string? _)))
            {
                yield return (target, string.Join(';', list.Select(t => (string?)t)));
            }
            else if (member is JsonObject amount && target.Kind == TargetKind.Attribute && FieldValue.MoneyOf(JsonSerializer.SerializeToElement(amount)) is { } money)
            {
                yield return (target, string.Create(CultureInfo.InvariantCulture, $"{money.AmountMinor} {money.Currency}"));
            }
            else if (member is not null)
            {
                errors.Add(new FieldError($"/{name}", "wrong_type", "A mapped member is text, a number or a boolean."));
            }
        }
    }

    private JsonObject Build(IEnumerable<(ImportTarget? Target, string Value)> cells, List<FieldError> errors)
    {
        var customer = new JsonObject();
        foreach (var (target, cell) in cells)
        {
            var value = cell.Trim();
            if (target is null || target.Kind == TargetKind.Ignore || value.Length == 0)
            {
                continue;
            }

            if (target.Kind == TargetKind.Tags)
            {
                AddTags(customer, value);
                continue;
            }

            value = Renamed(target, value);
            if (value.Length == 0)
            {
                continue;
            }

            try
            {
                Fill(customer, target, value);
            }
            catch (ProblemException problem) when (problem.Code == ProblemCodes.ValidationFailed)
            {
                errors.AddRange(problem.Errors);
            }
        }

        if (customer["given_name"] is null)
        {
            customer.Remove("given_name");
        }

        return customer;
    }

    private void Fill(JsonObject customer, ImportTarget target, string value)
    {
        switch (target.Kind)
        {
            case TargetKind.Deleted when No.Contains(value):
                break;
            case TargetKind.Deleted:
                throw new ProblemException(ProblemCodes.Gone, "The product that wrote the file has deleted the record; the row makes and changes nobody.");
            case TargetKind.Scalar:
                customer[target.Name] ??= target.Name == "birth_date" ? Date(value) : value;
                break;
            case TargetKind.FullName:
                var blank = value.LastIndexOf(' ');
                customer["given_name"] ??= blank < 0 ? null : value[..blank].Trim();
                customer["family_name"] ??= value[(blank + 1)..];
                break;
            case TargetKind.Source:
                ObjectOf(customer, "source")[target.Name] ??= value;
                break;
            case TargetKind.Attribute:
                ObjectOf(customer, "attributes")[target.Name] ??= JsonSerializer.SerializeToNode(_catalog.Parse(target.Name, value, _mapping.DateFormat));
                break;
            case TargetKind.ExternalId:
                ListOf(customer, "external_ids").Add(new JsonObject { ["system"] = target.Name, ["id"] = value });
                break;
            case TargetKind.Email:
                AddPoint(ListOf(customer, "emails"), "address", value, target.Type);
                break;
            case TargetKind.Phone:
                var phones = ListOf(customer, "phones");
                AddPoint(phones, "number", Phone(value, phones.Count), target.Type);
                break;
            default:
                SetAddress(ListOf(customer, "addresses"), target, value);
                break;
        }
    }

    private void AddTags(JsonObject customer, string cell)
    {
        var tags = ListOf(customer, "tags");
        foreach (var tag in cell.Split([';', ','], StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
            .Select(t => string.Join('-', Renamed(ImportTarget.Parse("tags")!, t).ToLowerInvariant().Split(' ', StringSplitOptions.RemoveEmptyEntries))).Where(t => t.Length > 0))
        {
            tags.Add(tag);
        }
    }

    private static void AddPoint(JsonArray points, string member, string value, string? type)
    {
        if (points.Any(p => string.Equals((string?)p![member], value, StringComparison.OrdinalIgnoreCase)))
        {
            return;
        }

        var point = new JsonObject { [member] = value };
        if (type is not null)
        {
            point["type"] = type;
        }

        points.Add(point);
    }

    private static void SetAddress(JsonArray addresses, ImportTarget target, string value)
    {
        var address = (JsonObject?)addresses.FirstOrDefault(a => (string?)a!["type"] == target.Type);
        if (address is null)
        {
            address = [];
            if (target.Type is not null)
            {
                address["type"] = target.Type;
            }

            addresses.Add(address);
        }

        if (target.Name == "lines")
        {
            var lines = ListOf(address, "lines");
            foreach (var line in value.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
            {
                lines.Add(line);
            }
        }
        else
        {
            address[target.Name] ??= target.Name == "country" ? CountryCodes.GetValueOrDefault(value, value) : value;
        }
    }

    private static JsonObject ObjectOf(JsonObject owner, string name) => (JsonObject)(owner[name] ??= new JsonObject());

    private static JsonArray ListOf(JsonObject owner, string name) => (JsonArray)(owner[name] ??= new JsonArray());

    /// <summary>What the mapping makes of a value.</summary>
    private string Renamed(ImportTarget target, string value) =>
        _values.TryGetValue(target.Text, out var values) && values.TryGetValue(value, out var other) ? other : value;

    /// <summary>The calendar day that is written, whatever the offset beside it is.</summary>
    private string Date(string value)
    {
        string[] formats = _mapping.DateFormat is { } format ? [format, .. IsoDates] : IsoDates;
        return DateTimeOffset.TryParseExact(value, formats, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var date)
            ? date.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)
            : throw ProblemException.Invalid(new FieldError("/birth_date", "wrong_format", "Not a date; how dates are written is said by date_format, such as MM/dd/yyyy, of the import or its mapping."));
    }

    private string Phone(string value, int index)
    {
        var number = Domain.Phone.Normalize(value);
        return number.StartsWith('+') ? number
            : _mapping.CallingCode is { } code ? code + Significant(HasCode(number, code) ? number[(code.Length - 1)..] : number, code)
            : throw ProblemException.Invalid(new FieldError(
                $"/phones/{index}/number", "wrong_format", "An E.164 number: + and 7 to 15 digits; what comes before others is said by calling_code of the import or its mapping."));
    }

    /// <summary>
    /// A spreadsheet that takes +442079460000 for a number leaves 442079460000. It can be a number of the country only if it
    /// is no longer than those are: so 9198765432 is one of India, and 919876543210 has the code.
    /// </summary>
    private static bool HasCode(string digits, string code) =>
        digits.AsSpan().StartsWith(code.AsSpan(1), StringComparison.Ordinal) && digits.Length > LongestNationals.GetValueOrDefault(code, LongestNational);

    private static string Significant(string digits, string code) => Domain.Phone.KeepsZero(code) ? digits : digits.TrimStart('0');

    private static Dictionary<string, string> CountriesByName()
    {
        var codes = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase)
        {
            ["USA"] = "US", ["U.S.A."] = "US", ["U.S."] = "US", ["United States of America"] = "US", ["UK"] = "GB", ["Great Britain"] = "GB", ["England"] = "GB",
            ["Scotland"] = "GB", ["Wales"] = "GB", ["Holland"] = "NL", ["The Netherlands"] = "NL", ["Czech Republic"] = "CZ", ["Turkey"] = "TR", ["South Korea"] = "KR",
            ["Russia"] = "RU", ["Vietnam"] = "VN", ["Ivory Coast"] = "CI",
        };
        foreach (var region in CultureInfo.GetCultures(CultureTypes.SpecificCultures).Select(c => new RegionInfo(c.Name)).Where(r => r.TwoLetterISORegionName.All(char.IsAsciiLetterUpper)))
        {
            codes.TryAdd(region.EnglishName, region.TwoLetterISORegionName);
            codes.TryAdd(region.NativeName, region.TwoLetterISORegionName);
            codes.TryAdd(region.TwoLetterISORegionName, region.TwoLetterISORegionName);
            codes.TryAdd(region.ThreeLetterISORegionName, region.TwoLetterISORegionName);
        }

        return codes;
    }
}

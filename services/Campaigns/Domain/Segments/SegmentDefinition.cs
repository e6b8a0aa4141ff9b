using System.Text.Json;
using System.Text.RegularExpressions;
using Crm.Hosting.Data;
using Crm.Hosting.Web;

namespace Crm.Campaigns.Domain.Segments;

/// <summary>A segment's definition, read and checked.</summary>
internal abstract record Condition;

internal sealed record All(IReadOnlyList<Condition> Conditions) : Condition;

internal sealed record Any(IReadOnlyList<Condition> Conditions) : Condition;

internal sealed record Not(Condition Condition) : Condition;

/// <param name="Value">
/// <see cref="string"/>, <see cref="long"/>, <see cref="bool"/>, <see cref="DateTimeOffset"/>, an array of the first
/// two, or for attributes a <see cref="JsonElement"/>.
/// </param>
internal sealed record Comparison(Fact Fact, Operator Operator, object Value, string? Currency) : Condition;

/// <summary>
/// The grammar: <c>{"all":[…]}</c>, <c>{"any":[…]}</c>, <c>{"not":…}</c>, and conditions
/// <c>{"fact":"orders.count","gte":2}</c> with exactly one operator; <c>orders.spend</c> has its <c>currency</c> beside, and an
/// attribute that has one is an amount of money, compared in minor units among those of the same currency.
/// A comparison with a value that is missing (no country, no order) is false whatever the operator, <c>ne</c> too;
/// so its negation by <c>not</c> is true. Counts and sums of nothing are 0 and not missing.
/// </summary>
internal static partial class SegmentDefinition
{
    public const int MaxDepth = 10;
    public const int MaxConditions = 50;
    public const int MaxValues = 1000;
    public const int LongestText = 2000;

    private const string Root = "/definition";

    /// <param name="tiers">The known ones; null of a definition that was read before: no tier ever goes.</param>
    /// <exception cref="ProblemException">400 with a JSON Pointer to each place that is wrong.</exception>
    public static Condition Parse(JsonElement definition, IReadOnlyCollection<string>? tiers = null)
    {
        var reader = new Reader(tiers);
        Condition? condition;
        try
        {
            condition = reader.Read(definition, Root, 1);
        }
        catch (InvalidOperationException)
        {
            // A lone surrogate somewhere: JSON allows the escape, UTF-8 has no such character.
            throw ProblemException.Invalid(new FieldError(Root, "bad_text", "The text has a character that cannot be stored."));
        }

        return reader.Errors.Count == 0 && condition is not null ? condition : throw ProblemException.Invalid(reader.Errors);
    }

    [GeneratedRegex("^[A-Z]{3}$", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Currency();

    private sealed class Reader(IReadOnlyCollection<string>? tiers)
    {
        private int _conditions;

        public List<FieldError> Errors { get; } = [];

        public Condition? Read(JsonElement element, string pointer, int depth)
        {
            if (element.ValueKind != JsonValueKind.Object)
            {
                return Fail(pointer, "wrong_type", "An object: all, any, not, or a condition with a fact.");
            }

            if (depth > MaxDepth)
            {
                return Fail(pointer, "too_deep", $"At most {MaxDepth} levels.");
            }

            if (element.TryGetProperty("fact", out var fact))
            {
                return ReadComparison(element, fact, pointer);
            }

            var members = element.EnumerateObject().ToList();
            if (members is not [var only])
            {
                return Fail(pointer, members.Count == 0 ? "required" : "ambiguous", "Exactly one of all, any, not and fact.");
            }

            var inner = $"{pointer}/{Escape(only.Name)}";
            switch (only.Name)
            {
                case "all":
                    return ReadList(only.Value, inner, depth) is { } all ? new All(all) : null;
                case "any":
                    return ReadList(only.Value, inner, depth) is { } any ? new Any(any) : null;
                case "not":
                    return Read(only.Value, inner, depth + 1) is { } not ? new Not(not) : null;
                default:
                    return Fail(inner, "unknown_field", "all, any, not or fact.");
            }
        }

        private List<Condition>? ReadList(JsonElement list, string pointer, int depth)
        {
            if (list.ValueKind != JsonValueKind.Array)
            {
                Fail(pointer, "wrong_type", "A list of conditions.");
                return null;
            }

            if (list.GetArrayLength() == 0)
            {
                Fail(pointer, "too_few", "At least one condition; a list without any would mean everybody or nobody.");
                return null;
            }

            if (list.GetArrayLength() > MaxConditions)
            {
                Fail(pointer, "too_many", $"At most {MaxConditions} conditions.");
                return null;
            }

            var conditions = new List<Condition>();
            var index = 0;
            foreach (var item in list.EnumerateArray())
            {
                if (Read(item, $"{pointer}/{index++}", depth + 1) is { } condition)
                {
                    conditions.Add(condition);
                }
            }

            return conditions;
        }

        private Comparison? ReadComparison(JsonElement element, JsonElement factName, string pointer)
        {
            if (++_conditions > MaxConditions)
            {
                if (_conditions == MaxConditions + 1)
                {
                    Fail(pointer, "too_many", $"At most {MaxConditions} conditions.");
                }

                return null;
            }

            if (factName.ValueKind != JsonValueKind.String)
            {
                Fail($"{pointer}/fact", "wrong_type", "The name of a fact.");
                return null;
            }

            if (Fact.Find(factName.GetString()!) is not { } fact)
            {
                Fail($"{pointer}/fact", "unknown_fact", "There is no such fact.");
                return null;
            }

            if (fact.IsAttribute && element.TryGetProperty("currency", out _))
            {
                fact = fact with { Type = FactType.Amount };
            }

            (Operator Operator, JsonElement Value)? comparison = null;
            string? currency = null;
            var before = Errors.Count;
            foreach (var member in element.EnumerateObject())
            {
                var place = $"{pointer}/{Escape(member.Name)}";
                if (member.Name == "fact")
                {
                    continue;
                }

                if (member.Name == "currency" && fact.HasCurrency)
                {
                    currency = member.Value.ValueKind == JsonValueKind.String ? member.Value.GetString() : null;
                    if (currency is null || !Currency().IsMatch(currency))
                    {
                        Fail(place, "wrong_format", "Three upper-case letters of ISO 4217.");
                    }
                }
                else if (!EnumWords<Operator>.TryParse(member.Name, out var op))
                {
                    Fail(place, "unknown_field", "eq, ne, gt, gte, lt, lte, in, contains or exists.");
                }
                else if (comparison is not null)
                {
                    Fail(place, "ambiguous", "One operator a condition; combine two conditions with all.");
                }
                else
                {
                    comparison = (op, member.Value);
                    if (!fact.AllowedOperators.Contains(op))
                    {
                        Fail(place, "wrong_operator", $"{fact.Name} has {string.Join(", ", fact.AllowedOperators.Select(o => o.ToWord()))}.");
                    }
                }
            }

            if (fact.HasCurrency && currency is null && Errors.Count == before)
            {
                Fail($"{pointer}/currency", "required", "Sums are per currency: name one, such as USD.");
            }

            if (comparison is null && Errors.Count == before)
            {
                Fail(pointer, "required", $"An operator: {string.Join(", ", fact.AllowedOperators.Select(o => o.ToWord()))}.");
            }

            if (comparison is not var (operation, value) || Errors.Count > before)
            {
                return null;
            }

            return ReadValue(fact, operation, value, $"{pointer}/{operation.ToWord()}") is { } read ? new Comparison(fact, operation, read, currency) : null;
        }

        private object? ReadValue(Fact fact, Operator operation, JsonElement value, string pointer)
        {
            switch (operation)
            {
                case Operator.Exists:
                    return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : Wrong(pointer, "true or false.");
                case Operator.Contains:
                    return ReadText(value, pointer);
                case Operator.In:
                    return ReadValues(fact, value, pointer);
                default:
                    return ReadOne(fact, operation, value, pointer);
            }
        }

        private object? ReadValues(Fact fact, JsonElement list, string pointer)
        {
            if (list.ValueKind != JsonValueKind.Array)
            {
                return Wrong(pointer, "A list of values.");
            }

            if (list.GetArrayLength() is 0 or > MaxValues)
            {
                Fail(pointer, list.GetArrayLength() == 0 ? "too_few" : "too_many", $"1 to {MaxValues} values.");
                return null;
            }

            var values = list.EnumerateArray().Select((v, i) => ReadOne(fact, Operator.Eq, v, $"{pointer}/{i}")).ToList();
            if (values.Contains(null))
            {
                return null;
            }

            return fact.Type switch
            {
                FactType.Number => values.Cast<long>().ToArray(),
                FactType.Attribute => list,
                _ => values.Cast<string>().ToArray(),
            };
        }

        private object? ReadOne(Fact fact, Operator operation, JsonElement value, string pointer)
        {
            switch (fact.Type)
            {
                case FactType.Number or FactType.Money or FactType.Amount:
                    return value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var number) ? number : Wrong(pointer, "A whole number.");
                case FactType.Instant:
                    return value.ValueKind == JsonValueKind.String && Instants.TryParse(value.GetString()!, out var instant)
                        ? instant
                        : Wrong(pointer, "An RFC 3339 instant with its zone, such as 1998-06-30T00:00:00Z.");
                case FactType.Word:
                    if (ReadText(value, pointer) is not string word)
                    {
                        return null;
                    }

                    if ((fact.Words ?? tiers) is { } words && !words.Contains(word))
                    {
                        Fail(pointer, "unknown_value", $"One of {string.Join(", ", words)}.");
                        return null;
                    }

                    return word;
                case FactType.Text or FactType.Words:
                    return ReadText(value, pointer);
                default:
                    return value.ValueKind switch
                    {
                        JsonValueKind.String => ReadText(value, pointer) is null ? null : value,
                        JsonValueKind.Number when IsStorable(value) => value,
                        JsonValueKind.True or JsonValueKind.False when operation is Operator.Eq or Operator.Ne => value,
                        _ => Wrong(pointer, operation is Operator.Eq or Operator.Ne ? "Text, a number or a boolean." : "Text or a number."),
                    };
            }
        }

        private string? ReadText(JsonElement value, string pointer)
        {
            if (value.ValueKind != JsonValueKind.String)
            {
                Wrong(pointer, "Text.");
                return null;
            }

            var text = value.GetString()!;
            if (text.Length is 0 or > LongestText)
            {
                Fail(pointer, text.Length == 0 ? "too_short" : "too_long", $"1 to {LongestText} characters.");
                return null;
            }

            if (text.Contains('\0', StringComparison.Ordinal))
            {
                Fail(pointer, "bad_text", "The text has a character that cannot be stored.");
                return null;
            }

            return text;
        }

        /// <summary>1e999999999 is valid JSON and no number of any database.</summary>
        private static bool IsStorable(JsonElement number) => number.TryGetDecimal(out _);

        private object? Wrong(string pointer, string detail)
        {
            Fail(pointer, "wrong_type", detail);
            return null;
        }

        private Condition? Fail(string pointer, string code, string detail)
        {
            if (Errors.Count < 100)
            {
                Errors.Add(new(pointer, code, detail));
            }

            return null;
        }

        private static string Escape(string name) => name.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal);
    }
}

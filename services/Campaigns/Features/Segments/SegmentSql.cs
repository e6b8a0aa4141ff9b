using System.Globalization;
using System.Text;
using System.Text.Json;
using Crm.Campaigns.Domain.Segments;
using Crm.Hosting.Rights;
using Npgsql;
using NpgsqlTypes;

namespace Crm.Campaigns.Features.Segments;

/// <summary>One statement that yields <c>id</c> and <c>display_name</c> of every member, and its parameters.</summary>
/// <remarks>A parameter belongs to one command: compile again for the next.</remarks>
internal sealed record SegmentQuery(string Sql, NpgsqlParameter[] Parameters)
{
    /// <summary>How many they are, as <c>Value</c>.</summary>
    public string CountSql => $"SELECT count(*) AS \"Value\" FROM ({Sql}) AS members";

    /// <summary>A row of the send ledger for each; takes <c>@campaign</c> and <c>@channel</c>.</summary>
    public string SnapshotSql => $"""
        INSERT INTO messages (id, campaign_id, customer_id, origin_customer_id, channel, status, next_at, created_at)
        SELECT uuid_v7(), @campaign, members.id, members.id, @channel, 'pending', now(), now() FROM ({Sql}) AS members
        """;
}

/// <summary>
/// Compiles a definition to one SQL statement; count, list of members and snapshot of a campaign are all made
/// from it. Values are parameters always. SQL's unknown counts as false: alone, since only true rows are taken,
/// and under <c>not</c>, since that makes it false first.
/// </summary>
internal sealed class SegmentSql
{
    private readonly StringBuilder _joins = new();
    private readonly HashSet<string> _joined = new(StringComparer.Ordinal);
    private readonly List<string> _spend = [];
    private readonly Dictionary<string, string> _consents = new(StringComparer.Ordinal);
    private readonly List<NpgsqlParameter> _parameters = [];
    private readonly DateOnly _asOf;
    private string? _day;
    private string? _until;

    private SegmentSql(DateOnly asOf) => _asOf = asOf;

    /// <param name="asOf">Days are counted back from this UTC date, and what happened after it is not seen.</param>
    /// <param name="page">
    /// True when few members are read in order of id: facts are then summed customer by customer along an index,
    /// not for everybody at once. The result is the same.
    /// </param>
    public static SegmentQuery Compile(Condition definition, DateOnly asOf, bool page = false)
    {
        var compiler = new SegmentSql(asOf);
        var where = compiler.Write(definition);
        compiler.WriteJoins(page);
        return new($"SELECT c.id, c.display_name FROM customers c{compiler._joins} WHERE c.state = 'active'{compiler.WriteSight()} AND ({where})", [.. compiler._parameters]);
    }

    /// <summary>Whoever does not see a customer neither counts it nor writes to it; the query filters do not reach into a statement of our own.</summary>
    private string WriteSight()
    {
        var rights = CallerRights.Current;
        return rights.UnseenDepartments.Count == 0 ? "" : $"""
             AND (c.department IS NULL OR c.department <> ALL ({Parameter(rights.UnseenDepartments.ToArray())}) OR EXISTS (
                SELECT FROM department_grants g WHERE g.customer_id = c.id AND g.owner = c.department AND g.department = ANY ({Parameter(rights.Departments.ToArray())})
                    AND NOT g.ended AND (g.expires_at IS NULL OR g.expires_at > now())))
            """;
    }

    private string Write(Condition condition) => condition switch
    {
        All all => $"({string.Join(" AND ", all.Conditions.Select(Write))})",
        Any any => $"({string.Join(" OR ", any.Conditions.Select(Write))})",
        Not not => $"(NOT coalesce({Write(not.Condition)}, false))",
        Comparison { Fact.Type: FactType.Attribute } comparison => WriteAttribute(comparison),
        Comparison { Fact.Type: FactType.Amount } comparison => WriteAmount(comparison),
        Comparison { Fact.Type: FactType.Words } comparison => WriteTags(comparison),
        Comparison comparison => WriteComparison(comparison),
        _ => throw new InvalidOperationException($"{condition} has no SQL."),
    };

    private string WriteComparison(Comparison comparison)
    {
        var value = Expression(comparison);
        if (comparison.Operator == Operator.Exists)
        {
            var exists = comparison.Fact.Type switch
            {
                FactType.Number when !comparison.Fact.Name.Contains(".days_since_", StringComparison.Ordinal) => $"({value} > 0)",
                FactType.Money => $"({Spend(comparison)} IS NOT NULL)",
                _ => $"({value} IS NOT NULL)",
            };
            return (bool)comparison.Value ? exists : $"(NOT {exists})";
        }

        return comparison.Operator switch
        {
            Operator.In => $"({value} = ANY ({Parameter(comparison.Value)}))",
            Operator.Contains => $"(strpos(lower({value}), lower({Parameter(comparison.Value)})) > 0)",
            var op => $"({value} {Symbol(op)} {Parameter(comparison.Value)})",
        };
    }

    private string Expression(Comparison comparison)
    {
        var fact = comparison.Fact;
        switch (fact.Name)
        {
            case "lifecycle" or "kind" or "tier" or "country" or "department" or "locale" or "created_at":
                return $"c.{fact.Name}";
            case "email":
                return "nullif(c.primary_email, '')";
            case "orders.count":
                _joined.Add("orders");
                return "coalesce(o.count, 0)";
            case "orders.spend":
                return $"coalesce({Spend(comparison)}, 0)";
            case "orders.first_at":
                _joined.Add("orders");
                return "o.first_at";
            case "orders.last_at":
                _joined.Add("orders");
                return "o.last_at";
            case "orders.days_since_first":
                _joined.Add("orders");
                return DaysSince("o.first_at");
            case "orders.days_since_last":
                _joined.Add("orders");
                return DaysSince("o.last_at");
            case "cases.open":
                _joined.Add("cases");
                return "coalesce(k.cases, 0)";
            case "complaints.open":
                _joined.Add("cases");
                return "coalesce(k.complaints, 0)";
            case "interactions.days_since_last":
                _joined.Add("interactions");
                return DaysSince("i.last_at");
            default:
                return $"{ConsentAlias(fact.Argument!)}.state";
        }
    }

    /// <summary>Whole calendar days in UTC; unknown when it never happened.</summary>
    private string DaysSince(string instant) => $"({Day} - ({instant} AT TIME ZONE 'UTC')::date)";

    private string Spend(Comparison comparison)
    {
        _joined.Add("orders");
        if (!_spend.Contains(comparison.Currency!))
        {
            _spend.Add(comparison.Currency!);
        }

        return $"o.spend_{_spend.IndexOf(comparison.Currency!)}";
    }

    private string ConsentAlias(string channelAndPurpose)
    {
        if (!_consents.TryGetValue(channelAndPurpose, out var alias))
        {
            alias = $"n{_consents.Count}";
            _consents.Add(channelAndPurpose, alias);
        }

        return alias;
    }

    /// <summary>A value of another type than the one it is compared with is no match.</summary>
    private string WriteAttribute(Comparison comparison)
    {
        var name = Parameter(comparison.Fact.Argument!);
        var (value, text) = ($"(c.attributes -> {name})", $"(c.attributes ->> {name})");
        switch (comparison.Operator)
        {
            case Operator.Exists:
                return (bool)comparison.Value ? $"({value} IS NOT NULL)" : $"({value} IS NULL)";
            case Operator.Contains:
                return $"(jsonb_typeof({value}) = 'string' AND strpos(lower({text}), lower({Parameter(comparison.Value)})) > 0)";
            case Operator.In:
                return $"({value} IN (SELECT jsonb_array_elements({Json((JsonElement)comparison.Value)})))";
            case Operator.Eq:
                return $"(c.attributes @> jsonb_build_object({name}, {Json((JsonElement)comparison.Value)}))";
            case Operator.Ne:
                return $"({value} <> {Json((JsonElement)comparison.Value)})";
            case var op when comparison.Value is JsonElement { ValueKind: JsonValueKind.Number } number:
                return $"(CASE WHEN jsonb_typeof({value}) = 'number' THEN {text}::numeric {Symbol(op)} {Parameter(number.GetDecimal())} END)";
            case var op:
                return $"(CASE WHEN jsonb_typeof({value}) = 'string' THEN {text} COLLATE \"C\" {Symbol(op)} {Parameter(((JsonElement)comparison.Value).GetString()!)} END)";
        }
    }

    /// <summary>A value that is no money, or money of another currency, is no match.</summary>
    private string WriteAmount(Comparison comparison)
    {
        var value = $"(c.attributes -> {Parameter(comparison.Fact.Argument!)})";
        var (currency, amount) = ($"({value} ->> 'currency')", $"({value} -> 'amount_minor')");
        return comparison.Operator == Operator.Exists
            ? $"({currency} IS {((bool)comparison.Value ? "NOT " : "")}DISTINCT FROM {Parameter(comparison.Currency!)})"
            : $"(CASE WHEN {currency} = {Parameter(comparison.Currency!)} AND jsonb_typeof({amount}) = 'number' THEN {amount}::numeric {Symbol(comparison.Operator)} {Parameter(comparison.Value)} END)";
    }

    /// <summary>The first condition is that of the index.</summary>
    private string WriteTags(Comparison comparison) => comparison.Operator switch
    {
        Operator.Contains => $"(cardinality(c.tags) > 0 AND c.tags @> ARRAY[{Parameter(comparison.Value)}])",
        Operator.In => $"(cardinality(c.tags) > 0 AND c.tags && {Parameter(comparison.Value)})",
        _ => (bool)comparison.Value ? "(cardinality(c.tags) > 0)" : "(cardinality(c.tags) = 0)",
    };

    private void WriteJoins(bool page)
    {
        if (_joined.Contains("orders"))
        {
            var spend = string.Concat(_spend.Select((currency, i) =>
                string.Create(CultureInfo.InvariantCulture, $", sum(amount_minor) FILTER (WHERE currency = {Parameter(currency)}) AS spend_{i}")));
            Join("o", $"count(*) AS count, min(placed_at) AS first_at, max(placed_at) AS last_at{spend}", $"orders WHERE status <> 'cancelled' AND placed_at < {Until}", page);
        }

        if (_joined.Contains("cases"))
        {
            Join("k", "count(*) AS cases, count(*) FILTER (WHERE type = 'complaint') AS complaints", "cases WHERE status <> 'solved'", page);
        }

        if (_joined.Contains("interactions"))
        {
            Join("i", "max(started_at) AS last_at", $"interactions WHERE started_at < {Until}", page);
        }

        foreach (var (channelAndPurpose, alias) in _consents)
        {
            var parts = channelAndPurpose.Split('.', 2);
            _joins.Append(CultureInfo.InvariantCulture,
                $" LEFT JOIN customer_consents {alias} ON {alias}.customer_id = c.id AND {alias}.channel = {Parameter(parts[0])} AND {alias}.purpose = {Parameter(parts[1])} AND {alias}.state <> 'none'");
        }
    }

    private void Join(string alias, string columns, string from, bool page) => _joins.Append(page
        ? $" LEFT JOIN LATERAL (SELECT {columns} FROM {from} AND customer_id = c.id) {alias} ON true"
        : $" LEFT JOIN (SELECT customer_id, {columns} FROM {from} GROUP BY customer_id) {alias} ON {alias}.customer_id = c.id");

    private static string Symbol(Operator op) => op switch
    {
        Operator.Eq => "=",
        Operator.Ne => "<>",
        Operator.Gt => ">",
        Operator.Gte => ">=",
        Operator.Lt => "<",
        Operator.Lte => "<=",
        _ => throw new InvalidOperationException($"{op} is no comparison."),
    };

    private string Day => _day ??= Parameter(_asOf);

    /// <summary>The end of the day.</summary>
    private string Until => _until ??= Parameter(new DateTimeOffset(_asOf.AddDays(1), TimeOnly.MinValue, TimeSpan.Zero));

    private string Parameter(object value) => Add(new NpgsqlParameter { Value = value });

    private string Json(JsonElement value) => Add(new NpgsqlParameter { Value = value.GetRawText(), NpgsqlDbType = NpgsqlDbType.Jsonb });

    private string Add(NpgsqlParameter parameter)
    {
        parameter.ParameterName = string.Create(CultureInfo.InvariantCulture, $"seg{_parameters.Count}");
        _parameters.Add(parameter);
        return $"@{parameter.ParameterName}";
    }
}

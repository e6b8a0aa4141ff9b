using System.Text.RegularExpressions;
using Crm.Hosting.Data;
using Crm.Runner;

namespace Durability.Tests;

/// <summary>
/// During an upgrade the old release runs on the new schema, so a migration only adds. What takes something away from it, or
/// asks more of it, comes a release later and is named here with the reason why no running release misses it.
/// </summary>
public sealed partial class MigrationRuleTests
{
    private const string BeforeTheFirstRelease = "Before 1.0: no release ran on the schema before.";

    private const string RuleLess = "A rule or an index less: the release before writes and reads as it did.";

    private static readonly Dictionary<string, string> Accepted = new(StringComparer.Ordinal)
    {
        ["services/BillingSync/0002_merges.sql: ALTER TABLE orders ALTER COLUMN origin_customer_id SET NOT NULL"] = BeforeTheFirstRelease,
        ["services/BillingSync/0002_merges.sql: ALTER TABLE invoices ALTER COLUMN origin_customer_id SET NOT NULL"] = BeforeTheFirstRelease,
        ["services/BillingSync/0002_merges.sql: ALTER TABLE payments ALTER COLUMN origin_customer_id SET NOT NULL"] = BeforeTheFirstRelease,
        ["services/BillingSync/0002_merges.sql: ALTER TABLE invoices DROP CONSTRAINT invoices_order"] = BeforeTheFirstRelease,
        ["services/BillingSync/0002_merges.sql: ALTER TABLE invoices ADD CONSTRAINT invoices_order FOREIGN KEY (order_id) REFERENCES orders (id)"] = BeforeTheFirstRelease,
        ["services/BillingSync/0002_merges.sql: ALTER TABLE payments DROP CONSTRAINT payments_invoice"] = BeforeTheFirstRelease,
        ["services/BillingSync/0002_merges.sql: ALTER TABLE payments ADD CONSTRAINT payments_invoice FOREIGN KEY (invoice_id) REFERENCES invoices (id)"] = BeforeTheFirstRelease,
        ["services/Campaigns/0002_merges.sql: ALTER TABLE orders ALTER COLUMN origin_customer_id SET NOT NULL"] = BeforeTheFirstRelease,
        ["services/Campaigns/0002_merges.sql: ALTER TABLE cases ALTER COLUMN origin_customer_id SET NOT NULL"] = BeforeTheFirstRelease,
        ["services/Campaigns/0002_merges.sql: ALTER TABLE interactions ALTER COLUMN origin_customer_id SET NOT NULL"] = BeforeTheFirstRelease,
        ["services/Campaigns/0002_merges.sql: ALTER TABLE messages ALTER COLUMN origin_customer_id SET NOT NULL"] = BeforeTheFirstRelease,
        ["services/Campaigns/0002_merges.sql: ALTER TABLE messages DROP CONSTRAINT messages_member_key"] = BeforeTheFirstRelease,
        ["services/Campaigns/0002_merges.sql: ALTER TABLE messages ADD CONSTRAINT messages_member_key UNIQUE (campaign_id, origin_customer_id, channel)"] = BeforeTheFirstRelease,
        ["services/Campaigns/0004_links.sql: ALTER TABLE messages ALTER COLUMN campaign_id DROP NOT NULL"] = BeforeTheFirstRelease,
        ["services/Campaigns/0004_links.sql: ALTER TABLE messages ADD CONSTRAINT messages_kind CHECK (CASE kind WHEN 'campaign' THEN campaign_id IS NOT NULL WHEN 'confirmation' THEN campaign_id IS NULL AND confirms_id IS NOT NULL AND purpose IS NOT NULL AND to_address IS NOT NULL AND expires_at IS NOT NULL ELSE false END)"] = BeforeTheFirstRelease,
        ["services/Campaigns/0006_row_filter.sql: DROP INDEX customers_attributes"] = RuleLess,
        ["services/Contacts/0002_merges.sql: ALTER TABLE consents ALTER COLUMN origin_customer_id SET NOT NULL"] = BeforeTheFirstRelease,
        ["services/Contacts/0002_merges.sql: ALTER TABLE consent_states ALTER COLUMN state DROP NOT NULL"] = BeforeTheFirstRelease,
        ["services/Contacts/0016_import_drafts.sql: ALTER TABLE import_results DROP CONSTRAINT import_results_import_id_fkey"] = RuleLess,
        ["services/Contacts/0020_change_request_operations.sql: DROP INDEX change_requests_history"] = RuleLess,
        ["services/Interactions/0002_merges.sql: ALTER TABLE interactions ALTER COLUMN origin_customer_id SET NOT NULL"] = BeforeTheFirstRelease,
        ["services/Interactions/0002_merges.sql: ALTER TABLE timeline ALTER COLUMN origin_customer_id SET NOT NULL"] = BeforeTheFirstRelease,
        ["services/Support/0002_merges.sql: ALTER TABLE cases ALTER COLUMN origin_customer_id SET NOT NULL"] = BeforeTheFirstRelease,
    };

    [Fact]
    public void Migrations_only_expand_and_what_contracts_is_named_with_its_reason()
    {
        var root = Topology.FindRoot();
        var files = ((string[])["hosting", "gateway", "services"]).SelectMany(f => Directory.EnumerateFiles(Path.Combine(root, f), "*.sql", SearchOption.AllDirectories))
            .Where(f => Path.GetFileName(Path.GetDirectoryName(f)) == "Migrations").Order(StringComparer.Ordinal).ToList();
        Assert.True(files.Count > 30, $"{files.Count} migrations found.");

        var found = files.SelectMany(file => Contracting(File.ReadAllText(file)).Select(what => $"{Path.GetRelativePath(root, file).Replace("/Migrations/", "/", StringComparison.Ordinal)}: {what}")).ToList();

        var unnamed = found.Except(Accepted.Keys, StringComparer.Ordinal).ToList();
        Assert.True(unnamed.Count == 0, $"The release before runs on this schema too. Expand only, or name it with its reason:\n{string.Join('\n', unnamed)}");
        Assert.Empty(Accepted.Keys.Except(found, StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("ALTER TABLE a DROP COLUMN b", "ALTER TABLE a DROP COLUMN b")]
    [InlineData("ALTER TABLE a ADD COLUMN b text, DROP b", "ALTER TABLE a DROP b")]
    [InlineData("DROP TABLE IF EXISTS a CASCADE", "DROP TABLE IF EXISTS a CASCADE")]
    [InlineData("ALTER TABLE a RENAME COLUMN b TO c", "ALTER TABLE a RENAME COLUMN b TO c")]
    [InlineData("ALTER INDEX a RENAME TO b", "ALTER INDEX a RENAME TO b")]
    [InlineData("ALTER TABLE a ALTER b SET NOT NULL", "ALTER TABLE a ALTER b SET NOT NULL")]
    [InlineData("ALTER TABLE a ALTER COLUMN b TYPE numeric(10, 2)", "ALTER TABLE a ALTER COLUMN b TYPE numeric(10, 2)")]
    [InlineData("ALTER TABLE a ADD COLUMN b text NOT NULL", "ALTER TABLE a ADD COLUMN b text NOT NULL")]
    [InlineData("ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0)", "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0)")]
    [InlineData("CREATE UNIQUE INDEX a ON b (c)", "CREATE UNIQUE INDEX a ON b (c)")]
    [InlineData("ALTER TABLE a ADD COLUMN b text NOT NULL DEFAULT 'x', ADD COLUMN c int", null)]
    [InlineData("ALTER TABLE a ADD COLUMN b text; CREATE UNIQUE INDEX c ON a (b)", null)]
    [InlineData("CREATE TABLE b (c int NOT NULL); CREATE UNIQUE INDEX a ON b (c)", null)]
    [InlineData("-- ALTER TABLE a DROP COLUMN b\nCREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DROP TABLE a; $$", null)]
    public void What_contracts_is_recognised(string sql, string? contracting) => Assert.Equal(contracting is null ? [] : [contracting], Contracting(sql));

    private static IEnumerable<string> Contracting(string sql)
    {
        var statements = SqlStatements.Of(sql).ToList();
        var made = statements.Select(s => CreateTable().Match(s)).Where(m => m.Success).Select(m => m.Groups["table"].Value).ToHashSet(StringComparer.OrdinalIgnoreCase);
        // Of these the release before writes nothing, so nothing that it writes is there twice.
        var added = statements.SelectMany(s => AddColumn().Matches(s)).Select(m => m.Groups["column"].Value).ToHashSet(StringComparer.OrdinalIgnoreCase);
        foreach (var statement in statements)
        {
            if (AlterTable().Match(statement) is { Success: true } alter)
            {
                foreach (var clause in Clauses(alter.Groups["clauses"].Value).Where(c => !made.Contains(alter.Groups["table"].Value) && Clause().IsMatch(c) && !Harmless().IsMatch(c)))
                {
                    yield return $"{alter.Groups["head"].Value} {clause}";
                }
            }
            else if (Statement().IsMatch(statement) || (UniqueIndex().Match(statement) is { Success: true } index && !made.Contains(index.Groups["table"].Value) && !Word().Matches(index.Groups["columns"].Value).Any(w => added.Contains(w.Value))))
            {
                yield return statement;
            }
        }
    }

    /// <summary>At the commas that are in no bracket.</summary>
    private static IEnumerable<string> Clauses(string text)
    {
        var (depth, start) = (0, 0);
        for (var i = 0; i <= text.Length; i++)
        {
            if (i == text.Length || (text[i] == ',' && depth == 0))
            {
                yield return text[start..i].Trim();
                start = i + 1;
            }
            else
            {
                depth += text[i] switch { '(' => 1, ')' => -1, _ => 0 };
            }
        }
    }

    [GeneratedRegex(@"^CREATE TABLE (IF NOT EXISTS )?(?<table>\S+)", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex CreateTable();

    [GeneratedRegex(@"^(?<head>ALTER TABLE (IF EXISTS )?(ONLY )?(?<table>\S+)) (?<clauses>.+)$", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex AlterTable();

    [GeneratedRegex(@"\bADD COLUMN (IF NOT EXISTS )?(?<column>\w+)", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex AddColumn();

    [GeneratedRegex(@"\w+", RegexOptions.None, 10_000)]
    private static partial Regex Word();

    /// <summary>Taken away: names, types. Asked: values where there were none, rules. Given: null where the old release knows none.</summary>
    [GeneratedRegex(@"^(DROP|RENAME|SET SCHEMA)\b|\b(SET|DROP) NOT NULL\b|^ALTER (COLUMN )?\S+ (SET DATA )?TYPE\b|^ADD (CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\b|^ADD .*\b(NOT NULL|UNIQUE|PRIMARY KEY|CHECK)\b", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Clause();

    [GeneratedRegex(@"^ADD (?!CONSTRAINT).*\b(DEFAULT|GENERATED)\b", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Harmless();

    [GeneratedRegex(@"^(DROP|TRUNCATE|ALTER (?!TABLE)\w+ .*\b(RENAME|DROP)\b)", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Statement();

    [GeneratedRegex(@"^CREATE UNIQUE INDEX (CONCURRENTLY )?(IF NOT EXISTS )?\S+ ON (?<table>\w+) ?\((?<columns>[^)]*)\)", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex UniqueIndex();
}

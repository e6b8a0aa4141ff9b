using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Matching;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;
using Npgsql;
using NpgsqlTypes;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>A record that may be the same customer, and why.</summary>
internal sealed record Candidate(Guid Id, string DisplayName, MatchScore Score)
{
    public IEnumerable<MatchField> Agreed => Score.Fields.Where(f => f.Agrees).Select(f => f.Field);
}

/// <summary>
/// Who may be the customer that is about to be created: everybody with one of its e-mail addresses or phone numbers, an
/// organisation of the very same name unless something differs, whoever scores high enough by name and something else, and,
/// whatever its score, a record that nothing tells apart from the new one.
/// One statement, by index, whatever the number of customers: of a key that many have nobody is looked at but the newest of
/// whom nothing is known but that name.
/// </summary>
internal sealed class DuplicateCheck(ContactsDb db, MatchModels models, IOptions<DuplicateOptions> options, TimeProvider clock)
{
    /// <summary>Keys that more customers have are passed over; the others find the same person.</summary>
    private const int MostOfKey = 50;

    private const int MostCompared = 50;

    /// <summary>Of those of whom nothing but one name is known: how many are asked for what stands in no index.</summary>
    private const int Newest = 500;

    private const string Sql = $"""
        WITH wanted AS (SELECT * FROM unnest(@kinds, @values) AS w (kind, value)),
        shared AS MATERIALIZED (
            SELECT kind, value FROM wanted w
            WHERE EXISTS (SELECT 1 FROM blocked_identifiers b WHERE b.kind = w.kind AND b.value = w.value)
               OR (SELECT count(*) FROM (SELECT 1 FROM customer_identifiers i WHERE i.kind = w.kind AND i.value = w.value LIMIT @limit + 1) AS owners) > @limit),
        hits AS (
            SELECT i.customer_id, 100 AS rank FROM wanted w JOIN customer_identifiers i USING (kind, value)
            WHERE (kind, value) NOT IN (SELECT kind, value FROM shared)
            UNION ALL
            SELECT unnest(named.ids), 100 FROM (
                SELECT array_agg(few.id) AS ids FROM (
                    SELECT c.id FROM customers c WHERE c.kind = 'organization' AND c.state = 'active' AND c.search_name = @name LIMIT @most + 1) AS few) AS named
            WHERE cardinality(named.ids) <= @most
            UNION ALL
            SELECT unnest(found.ids), 1 FROM unnest(@keys) AS k (key) CROSS JOIN LATERAL (
                SELECT array_agg(customer_id) AS ids FROM (SELECT d.customer_id FROM duplicate_keys d WHERE d.key = k.key LIMIT @most + 1) AS few) AS found
            WHERE cardinality(found.ids) <= @most
            UNION ALL
            (SELECT bare.id, 100 FROM (
                SELECT c.id, c.attributes FROM customers c
                WHERE hashtextextended(c.search_name, 0) = hashtextextended(@bare, 0) AND c.search_name = @bare AND c.kind = @kind AND c.state = 'active'
                    AND c.birth_date IS NULL AND c.emails = '[]' AND c.phones = '[]' AND c.addresses = '[]'
                ORDER BY c.id DESC LIMIT @newest) AS bare
            WHERE bare.attributes = @attributes AND NOT EXISTS (SELECT 1 FROM external_ids e WHERE e.customer_id = bare.id) LIMIT @most)),
        best AS (SELECT customer_id FROM hits GROUP BY customer_id ORDER BY sum(rank) DESC, customer_id LIMIT @compared)
        SELECT {MatchRows.Columns}, c.display_name, ARRAY(SELECT value FROM shared), c.attributes = @attributes
        FROM best JOIN customers c ON c.id = best.customer_id WHERE c.state = 'active'
        """;

    /// <summary>
    /// Creates of the same e-mail, phone or external id, or of names that are the same or sound alike, wait for one another
    /// until the transaction ends, so that of fifty at once the forty-nine others see the first.
    /// </summary>
    public Task LockAsync(CustomerInput input, CancellationToken ct)
    {
        var fields = input.ToMatchFields(default);
        // Placeholders make no keys.
        string[] named = MatchRecord.FullName(fields) is { } name ? [$"named {name}"] : [];
        return db.LockAsync(
            [.. input.Emails!.Select(e => $"email {e.Address.ToLowerInvariant()}"),
             .. input.Phones!.Select(p => $"phone {p.Number}"),
             .. input.ExternalIds!.Select(e => $"external {e.System} {e.Id}"),
             .. BlockingKeys.OfNames(MatchRecord.Of(fields)).Select(k => $"names {k}"), .. named], ct);
    }

    /// <summary>The likeliest first.</summary>
    public async Task<IReadOnlyList<Candidate>> FindAsync(CustomerInput input, CancellationToken ct)
    {
        var (model, record, found) = await ReadAsync(input, default, ct);
        // Whom the caller does not see is no hint for it.
        var seen = await db.FindSeenAsync(found.ConvertAll(f => f.Record.Id), ct);
        return [.. found.Where(f => seen.Contains(f.Record.Id)).Select(f => Compare(model, record, f)).OfType<Candidate>()
            .OrderByDescending(c => c.Score.Weight).ThenBy(c => c.Id)];
    }

    /// <summary>
    /// Puts a new customer, with everybody about whom a create would have been questioned, into the review queue; those who
    /// differ in something are found by the next scan.
    /// </summary>
    public async Task QueueAsync(Customer created, CancellationToken ct) => await db.InTransactionAsync(async () =>
    {
        var (model, record, found) = await ReadAsync(created.ToInput().Normalized(), created.Id, ct);
        var pairs = found.Where(f => f.Record.Id != created.Id && f.Record.Organization == record.Organization && Compare(model, record, f) is not null)
            .Select(f => DuplicateScanner.Found.Of(model, record, f.Record)).Where(p => p.Score.Probability >= options.Value.ReviewFrom).ToList();
        return await DuplicateScanner.WriteAsync((NpgsqlConnection)db.Database.GetDbConnection(), null, pairs, clock.GetUtcNow(), ct);
    }, ct);

    /// <param name="id">Of the customer, when it is stored: it is found too.</param>
    private async Task<(MatchModel Model, MatchRecord Record, List<Known> Found)> ReadAsync(CustomerInput input, Guid id, CancellationToken ct)
    {
        var wanted = input.ToMatchFields(id);
        var model = await models.OfAsync(wanted.Organization, ct);
        var found = new List<(MatchFields Fields, string DisplayName, bool SameAttributes)>();
        string[] shared = [];
        var identifiers = input.Emails!.Select(e => (Kind: CustomerIdentifier.Email, Value: e.Address.ToLowerInvariant()))
            .Concat(input.Phones!.Select(p => (Kind: CustomerIdentifier.Phone, Value: p.Number))).Distinct().ToArray();
        var bare = identifiers.Length == 0 && input.Addresses!.Count == 0 && input.BirthDate is null && input.ExternalIds!.Count == 0 && MatchRecord.FullName(wanted) is not null
            ? TextFolding.Fold(input.DisplayName())
            : null;
        await using (var command = new NpgsqlCommand(Sql, (NpgsqlConnection)db.Database.GetDbConnection()))
        {
            command.Parameters.Add(new NpgsqlParameter<string[]>("kinds", [.. identifiers.Select(i => i.Kind)]));
            command.Parameters.Add(new NpgsqlParameter<string[]>("values", [.. identifiers.Select(i => i.Value)]));
            command.Parameters.Add(new NpgsqlParameter<long[]>("keys", CustomerMatching.MatchKeysOf(wanted)));
            command.Parameters.Add(new NpgsqlParameter("name", NpgsqlDbType.Text) { Value = wanted.Organization ? TextFolding.Fold(wanted.Name!) : DBNull.Value });
            command.Parameters.Add(new NpgsqlParameter("bare", NpgsqlDbType.Text) { Value = (object?)bare ?? DBNull.Value });
            command.Parameters.Add(new NpgsqlParameter<string>("kind", wanted.Organization ? "organization" : "person"));
            command.Parameters.Add(new NpgsqlParameter("attributes", NpgsqlDbType.Jsonb) { Value = JsonSerializer.Serialize(input.Attributes, JsonDefaults.Options) });
            command.Parameters.Add(new NpgsqlParameter<int>("newest", Newest));
            command.Parameters.Add(new NpgsqlParameter<int>("limit", options.Value.CustomersPerIdentifier));
            command.Parameters.Add(new NpgsqlParameter<int>("most", MostOfKey));
            command.Parameters.Add(new NpgsqlParameter<int>("compared", MostCompared));
            await using var reader = await command.ExecuteReaderAsync(ct);
            while (await reader.ReadAsync(ct))
            {
                found.Add((MatchRows.Read(reader), reader.GetString(MatchRows.Width), reader.GetBoolean(MatchRows.Width + 2)));
                shared = reader.GetFieldValue<string[]>(MatchRows.Width + 1);
            }
        }

        var proveNothing = shared.Select(MatchRecord.Identifier).ToHashSet(StringComparer.Ordinal);
        return (model, MatchRecord.Of(wanted, proveNothing.Contains), found.ConvertAll(f => new Known(
            MatchRecord.Of(f.Fields, proveNothing.Contains), f.DisplayName, OrganizationName.IsSame(wanted.Name, f.Fields.Name),
            f.SameAttributes && MatchRecord.AreIndistinguishable(wanted, f.Fields))));
    }

    private Candidate? Compare(MatchModel model, MatchRecord record, Known known)
    {
        var other = known.Record;
        var vector = model.Compare(record, other);
        var score = model.Score(record, other, vector);
        var suspected = known.Indistinguishable
            || record.Emails.Intersect(other.Emails, StringComparer.Ordinal).Any()
            || record.Phones.Intersect(other.Phones, StringComparer.Ordinal).Any()
            // An organisation and a person at its address have no field that could differ.
            || (record.Organization == other.Organization && MatchModel.NothingDiffers(vector) && (known.SameName || (score.Probability >= options.Value.SuspectFrom && MatchModel.MoreThanNamesAgree(vector))));
        return suspected ? new(other.Id, known.DisplayName, score) : null;
    }

    /// <param name="SameName">Two organisations have one name, legal form included: hardly ever by chance.</param>
    /// <param name="Indistinguishable">All that is known of one of the two, custom fields included, is known of the other.</param>
    private sealed record Known(MatchRecord Record, string DisplayName, bool SameName, bool Indistinguishable);
}

using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.Hosting.Erasure;

/// <summary>Rows that a service knows of a person, as an export shows them.</summary>
/// <param name="Name">Of the list in the archive.</param>
/// <param name="Sql">Yields one jsonb a row; parameters as those of <see cref="ErasureStep"/>.</param>
/// <param name="Ids">How the rows' <c>id</c> is named outside, when it is.</param>
/// <param name="RecordType">The rows' type in the audit log, when they follow their customers through merges: then their history is told by whose they were, or by their <c>id</c>.</param>
public sealed record PersonalTable(string Name, string Sql, IdKind? Ids = null, string? RecordType = null);

public static class PersonalTables
{
    /// <summary>Members of rows that refer to records, under their public names.</summary>
    private static readonly Dictionary<string, IdKind> References = new(StringComparer.Ordinal)
    {
        ["customer_id"] = Crm.Contracts.Ids.Customer,
        ["origin_customer_id"] = Crm.Contracts.Ids.Customer,
        ["survivor_id"] = Crm.Contracts.Ids.Customer,
        ["source_referrer_id"] = Crm.Contracts.Ids.Customer,
        ["merged_from"] = Crm.Contracts.Ids.Customer,
        ["absorbed_ids"] = Crm.Contracts.Ids.Customer,
        ["low_id"] = Crm.Contracts.Ids.Customer,
        ["high_id"] = Crm.Contracts.Ids.Customer,
        ["candidate_ids"] = Crm.Contracts.Ids.Customer,
        ["consent_id"] = Crm.Contracts.Ids.Consent,
        ["confirms_id"] = Crm.Contracts.Ids.Consent,
        ["import_id"] = Crm.Contracts.Ids.Import,
        ["run_id"] = Crm.Contracts.Ids.RetentionRun,
        ["erasure_id"] = Crm.Contracts.Ids.Erasure,
        ["order_id"] = Crm.Contracts.Ids.Order,
        ["invoice_id"] = Crm.Contracts.Ids.Invoice,
        ["case_id"] = Crm.Contracts.Ids.Case,
        ["campaign_id"] = Crm.Contracts.Ids.Campaign,
    };

    /// <summary>
    /// The history of every record of theirs that this service keeps one of: part of each export. Of what follows its customer
    /// through merges (<c>@following</c>) an entry says whose the row was by its origin, also when it was given to somebody else
    /// since. One that does not is filed under whom it belonged to at the time, who may be another one since the undo of a merge:
    /// there it is the history of the rows that are exported (<c>@records</c>, with <c>@types</c>).
    /// </summary>
    public static readonly PersonalTable History = new("history", """
        SELECT to_jsonb(e) - 'digest' - 'hash' - 'seq' || jsonb_build_object('changes', v.changes::jsonb)
        FROM (
            SELECT entry_id AS id FROM audit_value WHERE origin_customer_id = ANY (@ids)
            UNION
            SELECT id FROM audit_entry WHERE customer_id = ANY (@ids) AND record_type <> ALL (@following)
            UNION
            SELECT e.id FROM unnest(@types, @records) AS r (type, id) JOIN audit_entry e ON e.record_type = r.type AND e.record_id = r.id) AS own
        JOIN audit_entry e ON e.id = own.id JOIN audit_value v ON v.entry_id = e.id
        WHERE v.origin_customer_id IS NULL OR v.origin_customer_id = ANY (@ids) ORDER BY e.id
        """, Crm.Contracts.Ids.History);

    /// <summary>All rows of these customers, table by table, each as a line of JSON with public ids.</summary>
    /// <param name="owners">For whom they stand in this database.</param>
    public static async IAsyncEnumerable<(string Table, string Row)> ReadPersonAsync(
        this CrmDbContext db, Guid[] ids, Guid[] owners, [EnumeratorCancellation] CancellationToken ct)
    {
        await db.Database.OpenConnectionAsync(ct);
        var records = new List<(string Type, Guid Id)>();
        foreach (var table in db.PersonalTables.Append(db.PersonalHistory))
        {
            await using var command = new NpgsqlCommand(table.Sql, (NpgsqlConnection)db.Database.GetDbConnection());
            command.Parameters.Add(new NpgsqlParameter<Guid[]>("ids", ids));
            command.Parameters.Add(new NpgsqlParameter<Guid[]>("owners", owners));
            command.Parameters.Add(new NpgsqlParameter<string[]>("names", [.. ids.Select(id => Crm.Contracts.Ids.Customer.Format(id))]));
            command.Parameters.Add(new NpgsqlParameter<string[]>("following", [.. db.PersonalTables.Select(t => t.RecordType).OfType<string>()]));
            command.Parameters.Add(new NpgsqlParameter<string[]>("types", [.. records.Select(r => r.Type)]));
            command.Parameters.Add(new NpgsqlParameter<Guid[]>("records", [.. records.Select(r => r.Id)]));
            await using var reader = await command.ExecuteReaderAsync(ct);
            while (await reader.ReadAsync(ct))
            {
                var row = JsonNode.Parse(reader.GetString(0))!.AsObject();
                if (table.RecordType is { } type)
                {
                    records.Add((type, Guid.Parse((string)row["id"]!)));
                }

                yield return (table.Name, WithPublicIds(row, table.Ids));
            }
        }
    }

    private static string WithPublicIds(JsonObject row, IdKind? own)
    {
        foreach (var (name, value) in row.ToList())
        {
            if ((name == "id" ? own : References.GetValueOrDefault(name)) is { } kind)
            {
                row[name] = value is JsonArray list ? new JsonArray([.. list.Select(v => Public(v, kind))]) : Public(value, kind);
            }
        }

        return row.ToJsonString(JsonDefaults.Options);
    }

    private static JsonNode? Public(JsonNode? value, IdKind kind) => value is null ? null : kind.Format(Guid.Parse((string)value!));
}

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
public sealed record PersonalTable(string Name, string Sql, IdKind? Ids = null);

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
        ["order_id"] = Crm.Contracts.Ids.Order,
        ["invoice_id"] = Crm.Contracts.Ids.Invoice,
        ["case_id"] = Crm.Contracts.Ids.Case,
        ["campaign_id"] = Crm.Contracts.Ids.Campaign,
    };

    /// <summary>The history of every record of theirs that this service keeps one of: part of each export.</summary>
    private static readonly PersonalTable History = new("history", """
        SELECT to_jsonb(e) - 'digest' - 'hash' - 'seq' - 'id' || jsonb_build_object('id', e.id, 'changes', v.changes::jsonb)
        FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id WHERE e.customer_id = ANY (@ids) ORDER BY e.id
        """, Crm.Contracts.Ids.History);

    /// <summary>All rows of these customers, table by table, each as a line of JSON with public ids.</summary>
    /// <param name="owners">For whom they stand in this database.</param>
    public static async IAsyncEnumerable<(string Table, string Row)> ReadPersonAsync(
        this CrmDbContext db, Guid[] ids, Guid[] owners, [EnumeratorCancellation] CancellationToken ct)
    {
        await db.Database.OpenConnectionAsync(ct);
        foreach (var table in db.PersonalTables.Append(History))
        {
            await using var command = new NpgsqlCommand(table.Sql, (NpgsqlConnection)db.Database.GetDbConnection());
            command.Parameters.Add(new NpgsqlParameter<Guid[]>("ids", ids));
            command.Parameters.Add(new NpgsqlParameter<Guid[]>("owners", owners));
            await using var reader = await command.ExecuteReaderAsync(ct);
            while (await reader.ReadAsync(ct))
            {
                yield return (table.Name, WithPublicIds(reader.GetString(0), table.Ids));
            }
        }
    }

    private static string WithPublicIds(string json, IdKind? own)
    {
        var row = JsonNode.Parse(json)!.AsObject();
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

using System.Text.Encodings.Web;
using System.Text.Json;
using Crm.Contracts.Events;
using Crm.Hosting.Messaging;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Npgsql;
using RabbitMQ.Client;

namespace Crm.Hosting.Erasure;

/// <summary>
/// Looks for values in every column of every table of this service, whatever the table is for, and in the messages that
/// wait in its queues: what proves that an erasure has forgotten nothing.
/// </summary>
internal sealed class PersonalDataSearch(NpgsqlDataSource dataSource, ServiceName service, IServiceProvider services)
{
    private const int ShortestValue = 4;

    /// <summary>The command: <c>--find-personal-data &lt;file&gt;</c>, a value a line. Exit code 1 when there are hits; they are counted and not shown.</summary>
    public async Task<int> RunCommandAsync(IReadOnlyList<string> arguments, TextWriter output, CancellationToken ct)
    {
        if (arguments is not [var file])
        {
            await output.WriteLineAsync("usage: --find-personal-data <file with a value a line>");
            return 2;
        }

        var values = (await File.ReadAllLinesAsync(file, ct)).Select(v => v.Trim()).Where(v => v.Length > 0).ToList();
        if (values.Count == 0 || values.Exists(v => v.Length < ShortestValue))
        {
            await output.WriteLineAsync($"Each value has {ShortestValue} characters at least; shorter ones are everywhere.");
            return 2;
        }

        string[] spellings = [.. values.SelectMany(Spellings).Distinct(StringComparer.Ordinal)];
        var hits = await SearchTablesAsync(spellings, ct);
        // The gateway has no bus.
        if (services.GetService<DeadLetters>() is not null)
        {
            hits = [.. hits, .. await SearchQueuesAsync(services.GetRequiredService<IOptions<BusOptions>>().Value, spellings, ct)];
        }

        foreach (var (place, count) in hits)
        {
            await output.WriteLineAsync($"{place}\t{count}");
        }

        return hits.Count == 0 ? 0 : 1;
    }

    /// <summary>As it is, and as JSON writes it, in lower case.</summary>
    internal static IEnumerable<string> Spellings(string value)
    {
        var lower = value.ToLowerInvariant();
        return [lower, JsonEncodedText.Encode(lower, JavaScriptEncoder.UnsafeRelaxedJsonEscaping).ToString(), JsonEncodedText.Encode(lower).ToString().ToLowerInvariant()];
    }

    private async Task<List<(string Place, long Hits)>> SearchTablesAsync(string[] spellings, CancellationToken ct)
    {
        var tables = new List<(string Table, string[] Binary)>();
        await using (var list = dataSource.CreateCommand("""
            SELECT quote_ident(t.table_name), coalesce(array_agg(quote_ident(c.column_name)) FILTER (WHERE c.data_type = 'bytea'), '{}')
            FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name)
            WHERE t.table_schema = current_schema() AND t.table_type = 'BASE TABLE' GROUP BY 1 ORDER BY 1
            """))
        await using (var reader = await list.ExecuteReaderAsync(ct))
        {
            while (await reader.ReadAsync(ct))
            {
                tables.Add((reader.GetString(0), reader.GetFieldValue<string[]>(1)));
            }
        }

        var hits = new List<(string, long)>();
        foreach (var (table, binary) in tables)
        {
            // A whole row is searched as text: no column can be forgotten.
            var row = string.Join(" || ' ' || ", ["to_jsonb(r)::text", .. binary.Select(c => $"coalesce(encode(r.{c}, 'escape'), '')")]);
            await using var count = dataSource.CreateCommand($"""
                SELECT count(*) FROM {table} AS r WHERE EXISTS (
                    SELECT 1 FROM unnest(@values) AS v WHERE strpos(lower({row}), v) > 0 OR strpos(lower({row}), encode(convert_to(v, 'UTF8'), 'escape')) > 0)
                """);
            count.CommandTimeout = 0;
            count.Parameters.Add(new NpgsqlParameter<string[]>("values", spellings));
            if (await count.ExecuteScalarAsync(ct) is long and > 0 and var found)
            {
                hits.Add((table, found));
            }
        }

        return hits;
    }

    /// <summary>Takes the messages that wait, looks, and gives them back to their places by closing the channel.</summary>
    private async Task<List<(string Place, long Hits)>> SearchQueuesAsync(BusOptions options, string[] spellings, CancellationToken ct)
    {
        await using var connection = await options.Connections($"{service.Value} search").CreateConnectionAsync(ct);
        var hits = new List<(string, long)>();
        var prefix = $"crm.{service.Value}.";
        foreach (var queue in EventCatalog.All.SelectMany(r => r.Queues).Where(q => q.StartsWith(prefix, StringComparison.Ordinal)).Distinct(StringComparer.Ordinal))
        {
            await using var channel = await connection.CreateChannelAsync(cancellationToken: ct);
            long found = 0;
            while (await channel.BasicGetAsync(queue, autoAck: false, ct) is { } message)
            {
                var text = System.Text.Encoding.UTF8.GetString(message.Body.Span).ToLowerInvariant();
                found += spellings.Any(v => text.Contains(v, StringComparison.Ordinal)) ? 1 : 0;
            }

            if (found > 0)
            {
                hits.Add((queue, found));
            }
        }

        return hits;
    }
}

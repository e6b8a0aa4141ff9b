using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;
using Microsoft.EntityFrameworkCore.Metadata;

namespace Crm.Hosting.Audit;

/// <summary>One change of one record: who, when, under which trace. What the values were lies in <see cref="AuditValue"/>.</summary>
public sealed class AuditEntry
{
    /// <summary>UUIDv7 of the moment of the change.</summary>
    public required Guid Id { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary>The key or user that the gateway vouched for, or <c>svc:&lt;service&gt;</c> for a service's own work.</summary>
    public required string Actor { get; init; }
    public string? TraceId { get; init; }
    public required string Action { get; init; }
    public required string RecordType { get; init; }
    public required Guid RecordId { get; init; }
    public Guid? CustomerId { get; init; }

    /// <summary>SHA-256 of salt and changes.</summary>
    public required byte[] Digest { get; init; }

    /// <summary>Place in the chain; null for the moment until the chainer has been there.</summary>
    public long? Seq { get; private set; }

    /// <summary>SHA-256 of the previous entry's hash and of this entry.</summary>
    public byte[]? Hash { get; private set; }

    public AuditValue? Value { get; init; }

    internal void Link(long seq, byte[] hash) => (Seq, Hash) = (seq, hash);

    /// <summary>What the chain hashes, in one way only.</summary>
    internal static byte[] Chain(
        byte[] previous, long seq, Guid id, DateTimeOffset at, string actor, string? traceId, string action, string recordType, Guid recordId, Guid? customerId, byte[] digest)
    {
        var entry = JsonSerializer.SerializeToUtf8Bytes(new object?[]
        {
            seq, id, at.UtcDateTime.ToString("O"), actor, traceId, action, recordType, recordId, customerId, Convert.ToHexStringLower(digest),
        });
        return SHA256.HashData([.. previous, .. entry]);
    }
}

/// <summary>The values of a change: personal data, deleted with its salt by an erasure.</summary>
public sealed class AuditValue
{
    private const int SaltSize = 16;

    public required Guid EntryId { get; init; }
    public required byte[] Salt { get; init; }

    /// <summary>JSON: <c>{"field": {"old": …, "new": …}}</c>.</summary>
    public required string Changes { get; init; }

    /// <summary>Whose they are, when not of whom the entry is filed under: an erasure takes them with this customer, an export tells this one.</summary>
    public Guid? OriginCustomerId { get; init; }

    internal static AuditValue Of(Guid entryId, JsonObject changes, Guid? origin) => new()
    {
        EntryId = entryId,
        Salt = RandomNumberGenerator.GetBytes(SaltSize),
        Changes = changes.ToJsonString(JsonDefaults.Options),
        OriginCustomerId = origin,
    };

    internal byte[] Digest() => Digest(Salt, Changes);

    internal static byte[] Digest(byte[] salt, string changes) => SHA256.HashData([.. salt, .. Encoding.UTF8.GetBytes(changes)]);
}

public static class AuditChanges
{
    private static readonly string[] Bookkeeping = ["Id", "Version", "EventSequence", "CreatedAt", "UpdatedAt"];

    /// <summary>The members that differ, as the API writes them; all that have a value when there was nothing before, or is nothing after.</summary>
    public static JsonObject Between<T>(T? before, T? after) where T : class
    {
        var old = before is null ? [] : JsonSerializer.SerializeToNode(before, JsonDefaults.Options)!.AsObject();
        var now = after is null ? [] : JsonSerializer.SerializeToNode(after, JsonDefaults.Options)!.AsObject();
        var changes = new JsonObject();
        foreach (var name in now.Select(m => m.Key).Union(old.Select(m => m.Key), StringComparer.Ordinal))
        {
            var (was, becomes) = (old[name], now[name]);
            if (!JsonNode.DeepEquals(was, becomes))
            {
                changes[name] = new JsonObject { ["old"] = was?.DeepClone(), ["new"] = becomes?.DeepClone() };
            }
        }

        return changes;
    }

    /// <summary>The columns of a tracked row that differ from the stored ones; all that have a value when it is new.</summary>
    public static JsonObject Of(EntityEntry row)
    {
        var isNew = row.State == EntityState.Added;
        var changes = new JsonObject();
        foreach (var property in row.Properties.Concat(row.ComplexProperties.SelectMany(c => c.Properties)).Where(p => (isNew ? p.CurrentValue is not null : p.IsModified) && !Bookkeeping.Contains(p.Metadata.Name, StringComparer.Ordinal)))
        {
            var path = property.Metadata.DeclaringType is IComplexType part ? $"{part.ComplexProperty.Name}_{property.Metadata.Name}" : property.Metadata.Name;
            changes[JsonNamingPolicy.SnakeCaseLower.ConvertName(path)] =
                new JsonObject { ["old"] = isNew ? null : Json(property.OriginalValue), ["new"] = Json(property.CurrentValue) };
        }

        return changes;
    }

    /// <summary>Of these changes what there was before, or is after: the members that have a value then.</summary>
    /// <param name="side"><c>old</c> or <c>new</c>.</param>
    internal static JsonObject OneSide(JsonObject changes, string side) => new(changes.Where(c => c.Value![side] is not null).Select(c => KeyValuePair.Create<string, JsonNode?>(
        c.Key, new JsonObject { ["old"] = null, ["new"] = null, [side] = c.Value![side]!.DeepClone() })));

    private static JsonNode? Json(object? value) => JsonSerializer.SerializeToNode(value is IPAddress address ? address.ToString() : value, JsonDefaults.Options);
}

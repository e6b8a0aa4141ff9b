using System.Collections.Concurrent;
using Crm.Contracts;
using Crm.Gateway.Domain;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;
using Microsoft.Extensions.Caching.Memory;
using Microsoft.Extensions.Options;
using Npgsql;

namespace Crm.Gateway.Authentication;

/// <summary>
/// Keys by their secret. What was read is believed for five seconds, so a key that is revoked at another
/// replica dies within them; a key in steady use is read again before, and no request waits for it.
/// While the database cannot be reached a key known before is believed for a minute.
/// </summary>
internal sealed partial class KeyDirectory(NpgsqlDataSource dataSource, Policy policy, IOptions<GatewayOptions> options, TimeProvider clock, ILogger<KeyDirectory> logger) : IDisposable
{
    private static readonly TimeSpan Fresh = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan Believed = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan BelievedInNeed = TimeSpan.FromMinutes(1);

    private readonly TimeProvider _clock = clock;
    private readonly MemoryCache _entries = new(new MemoryCacheOptions { SizeLimit = 50_000 });
    private readonly ConcurrentDictionary<Guid, DateTimeOffset> _used = new();

    public async Task<Caller> AuthenticateAsync(KeySecret secret, CancellationToken ct)
    {
        var key = await FindAsync(secret, ct) ?? throw new CredentialException("The key is not known.");
        var now = _clock.GetUtcNow();
        if (key.RevokedAt is not null)
        {
            throw new CredentialException("The key is revoked.");
        }

        if (key.ExpiresAt <= now)
        {
            throw new CredentialException("The key has expired.");
        }

        _used[key.Id] = now;
        return key.Caller;
    }

    /// <summary>When keys were last used, since the last call; keys that were not are left out.</summary>
    public IReadOnlyDictionary<Guid, DateTimeOffset> TakeUsed()
    {
        var taken = new Dictionary<Guid, DateTimeOffset>();
        foreach (var id in _used.Keys)
        {
            if (_used.TryRemove(id, out var at))
            {
                taken.Add(id, at);
            }
        }

        return taken;
    }

    /// <summary>After a change at this replica: it is seen by the next request.</summary>
    public void Forget(byte[] secretHash) => _entries.Remove(Convert.ToBase64String(secretHash));

    private async Task<KnownKey?> FindAsync(KeySecret secret, CancellationToken ct)
    {
        var hash = secret.Hash();
        var id = Convert.ToBase64String(hash);
        var entry = _entries.GetOrCreate(id, e =>
        {
            e.Size = 1;
            e.SlidingExpiration = BelievedInNeed;
            return new Entry(this, hash);
        })!;
        var (key, age) = entry.Last;
        if (age < Fresh)
        {
            return key;
        }

        var reading = entry.ReadAsync();
        if (age < Believed)
        {
            return key;
        }

        try
        {
            return await reading.WaitAsync(ct);
        }
        catch (Exception exception) when (exception is NpgsqlException or TimeoutException && key is not null && age < BelievedInNeed)
        {
            LogBelieved(exception.Message);
            return key;
        }
    }

    private async Task<KnownKey?> ReadAsync(byte[] hash)
    {
        await using var command = dataSource.CreateCommand(
            "SELECT id, scopes, requests_per_minute, expires_at, revoked_at, roles, departments, row_filter FROM api_key WHERE secret_hash = @hash");
        command.Parameters.AddWithValue("hash", hash);
        await using var reader = await command.ExecuteReaderAsync();
        if (!await reader.ReadAsync())
        {
            return null;
        }

        var id = reader.GetGuid(0);
        return new KnownKey(
            id,
            new Caller(
                SubjectOf(reader, id),
                reader.IsDBNull(2) ? options.Value.RequestsPerMinute : reader.GetInt32(2)),
            reader.IsDBNull(3) ? null : reader.GetFieldValue<DateTimeOffset>(3),
            reader.IsDBNull(4) ? null : reader.GetFieldValue<DateTimeOffset>(4));
    }

    /// <summary>Roles restrict: of the key's scopes those hold that one of its roles brings too.</summary>
    private TokenSubject SubjectOf(NpgsqlDataReader reader, Guid id)
    {
        var (scopes, roles) = (reader.GetFieldValue<string[]>(1), reader.GetFieldValue<string[]>(5));
        return new(
            Ids.Key.Format(id),
            roles.Length == 0 ? scopes : [.. scopes.Intersect(policy.ScopesOf(roles), StringComparer.Ordinal)],
            roles,
            reader.GetFieldValue<string[]>(6),
            reader.IsDBNull(7) ? null : RowFilter.OfClaim(reader.GetString(7)));
    }

    public void Dispose() => _entries.Dispose();

    [LoggerMessage(LogLevel.Warning, "The database cannot be reached, a known key is believed ({Reason})")]
    private partial void LogBelieved(string reason);

    private sealed record KnownKey(Guid Id, Caller Caller, DateTimeOffset? ExpiresAt, DateTimeOffset? RevokedAt);

    /// <summary>What was read under one hash, unknown ones too; however many requests ask, one statement reads.</summary>
    private sealed class Entry(KeyDirectory directory, byte[] hash)
    {
        private readonly Lock _lock = new();
        private Task<KnownKey?>? _reading;
        private KnownKey? _key;
        private long? _readAt;

        public (KnownKey? Key, TimeSpan Age) Last
        {
            get
            {
                lock (_lock)
                {
                    return (_key, _readAt is { } at ? directory._clock.GetElapsedTime(at) : TimeSpan.MaxValue);
                }
            }
        }

        public Task<KnownKey?> ReadAsync()
        {
            lock (_lock)
            {
                return _reading is { IsCompleted: false } ? _reading : _reading = Task.Run(ReadNowAsync);
            }
        }

        private async Task<KnownKey?> ReadNowAsync()
        {
            var startedAt = directory._clock.GetTimestamp();
            var key = await directory.ReadAsync(hash);
            lock (_lock)
            {
                _key = key;
                _readAt = startedAt;
            }

            return key;
        }
    }
}

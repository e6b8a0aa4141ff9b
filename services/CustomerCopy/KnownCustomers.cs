using Microsoft.Extensions.Caching.Memory;

namespace Crm.CustomerCopy;

/// <summary>
/// Ids that were found in the copy lately: rows are never deleted, so what exists goes on existing, and a
/// bulk load asks the database once a customer. Unknown ids are never remembered.
/// </summary>
public sealed class KnownCustomers : IDisposable
{
    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(1);

    private readonly MemoryCache _ids = new(new MemoryCacheOptions { SizeLimit = 100_000 });

    public bool Contains(Guid id) => _ids.TryGetValue(id, out _);

    public void Add(Guid id) => _ids.Set(id, value: true, new MemoryCacheEntryOptions { Size = 1, AbsoluteExpirationRelativeToNow = Lifetime });

    public void Dispose() => _ids.Dispose();
}

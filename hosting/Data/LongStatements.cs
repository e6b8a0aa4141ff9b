using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;

namespace Crm.Hosting.Data;

/// <summary>
/// For statements about all rows of a customer, of which there can be hundreds of thousands: one that is cut off is begun
/// anew with the next try, for ever.
/// </summary>
public static class LongStatements
{
    internal static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    /// <summary>Until it is disposed, statements may take ten minutes; whoever waits for the work may end it before.</summary>
    public static IDisposable AllowLongStatements(this DbContext db)
    {
        var usual = new UsualLimit(db.Database, db.Database.GetCommandTimeout());
        db.Database.SetCommandTimeout(Limit);
        return usual;
    }

    private sealed class UsualLimit(DatabaseFacade database, int? seconds) : IDisposable
    {
        public void Dispose() => database.SetCommandTimeout(seconds);
    }
}

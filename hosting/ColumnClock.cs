namespace Crm.Hosting;

/// <summary>
/// The system's clock in whole microseconds, as PostgreSQL keeps instants: what an event or an answer says is then
/// exactly what the row says.
/// </summary>
internal sealed class ColumnClock : TimeProvider
{
    public override DateTimeOffset GetUtcNow()
    {
        var now = base.GetUtcNow();
        return now.AddTicks(-(now.Ticks % TimeSpan.TicksPerMicrosecond));
    }
}

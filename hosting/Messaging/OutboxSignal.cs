using System.Data.Common;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace Crm.Hosting.Messaging;

/// <summary>Wakes this process's relay after a commit. A hint only: the relay's poll is the truth.</summary>
internal sealed class OutboxSignal : DbTransactionInterceptor, IDisposable
{
    private readonly SemaphoreSlim _signal = new(0, 1);

    public void Raise()
    {
        try
        {
            if (_signal.CurrentCount == 0)
            {
                _signal.Release();
            }
        }
        catch (SemaphoreFullException)
        {
            // Another commit raised it in between; one is enough.
        }
    }

    /// <summary>Returns at a signal or after <paramref name="poll"/>.</summary>
    public Task<bool> WaitAsync(TimeSpan poll, CancellationToken ct) => _signal.WaitAsync(poll, ct);

    public void Dispose() => _signal.Dispose();

    public override void TransactionCommitted(DbTransaction transaction, TransactionEndEventData eventData) => Raise();

    public override Task TransactionCommittedAsync(DbTransaction transaction, TransactionEndEventData eventData, CancellationToken cancellationToken = default)
    {
        Raise();
        return Task.CompletedTask;
    }
}

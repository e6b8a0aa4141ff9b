using System.Data.Common;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace Crm.Hosting.Messaging;

/// <summary>After a commit, for the relay.</summary>
internal sealed class OutboxSignal : WakeSignal
{
    public OutboxSignal() => Commits = new CommitInterceptor(this);

    public IInterceptor Commits { get; }

    private sealed class CommitInterceptor(OutboxSignal signal) : DbTransactionInterceptor
    {
        public override void TransactionCommitted(DbTransaction transaction, TransactionEndEventData eventData) => signal.Raise();

        public override Task TransactionCommittedAsync(DbTransaction transaction, TransactionEndEventData eventData, CancellationToken cancellationToken = default)
        {
            signal.Raise();
            return Task.CompletedTask;
        }
    }
}

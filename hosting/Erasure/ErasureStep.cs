using Crm.Contracts;

namespace Crm.Hosting.Erasure;

/// <summary>
/// What an erasure does with the rows of one table. A service lists its steps in one place
/// (<see cref="Data.CrmDbContext.ErasureSteps"/>); a table with personal data that is missing there is found by
/// <c>./crm find-personal-data</c>.
/// </summary>
/// <param name="Table">As the receipt counts it; null for a statement that erases no rows, such as one that takes locks.</param>
/// <param name="Sql">
/// One statement. <c>@ids</c> are the erased customers (uuid[]), <c>@owners</c> those for whom they stand here, who have
/// the rows as <c>customer_id</c>; <c>@names</c> their public ids (text[]); of steps only, <c>@mailboxes</c> the digests of
/// their mailboxes, present and former, that nobody else had when they were erased (text[], <see cref="Crm.Contracts.Events.CustomersErased.Mailboxes"/>).
/// </param>
/// <param name="Ids">How the rows are named outside, when they are: then the statement returns their ids, and nothing else.</param>
/// <param name="RecordType">The rows' type in the audit log, when they have one.</param>
/// <param name="Kept">The rows stay, with nothing of the erased in them: those that the law wants kept, and those of others.</param>
/// <param name="IdsStay">The ids are not of these rows, but of records that stay.</param>
public sealed record ErasureStep(string? Table, string Sql, IdKind? Ids = null, string? RecordType = null, bool Kept = false, bool IdsStay = false);

/// <summary>Rows by table.</summary>
/// <param name="Erased">That are gone.</param>
/// <param name="Kept">That stay, with nothing of the erased in them: those that the law wants kept, and those of others.</param>
public sealed record ErasedCounts(IReadOnlyDictionary<string, long> Erased, IReadOnlyDictionary<string, long> Kept);

using System.Runtime.CompilerServices;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace Crm.Hosting.Data;

/// <summary>
/// Rows by statements that EF does not write. They name their columns: a prepared statement fails when what it selects
/// changes, and a migration adds columns while the release before it runs.
/// </summary>
public static class NamedColumns
{
    /// <summary>Rows as they are now, nobody else's until the transaction ends.</summary>
    /// <param name="condition">What follows WHERE; it may end in ORDER BY and LIMIT.</param>
    /// <param name="skipLocked">Rows that somebody else holds are left out instead of waited for.</param>
    public static IQueryable<T> ForUpdate<T>(this DbSet<T> rows, FormattableString condition, bool skipLocked = false) where T : class =>
        rows.Select($"{Quoted(rows.EntityType.GetTableName()!)} WHERE {condition.Format} FOR UPDATE{(skipLocked ? " SKIP LOCKED" : "")}", condition.GetArguments());

    /// <param name="source">What follows FROM: something that has the columns of the entity's table.</param>
    public static IQueryable<T> SelectFrom<T>(this DbSet<T> rows, FormattableString source) where T : class => rows.Select(source.Format, source.GetArguments());

    private static IQueryable<T> Select<T>(this DbSet<T> rows, string source, object?[] arguments) where T : class
    {
        var table = StoreObjectIdentifier.Create(rows.EntityType, StoreObjectType.Table)!.Value;
        var columns = rows.EntityType.GetProperties().Select(p => Quoted(p.GetColumnName(table)!));
        return rows.FromSql(FormattableStringFactory.Create($"SELECT {string.Join(", ", columns)} FROM {source}", arguments));
    }

    private static string Quoted(string name) => $"\"{name}\"";
}

using System.ComponentModel.DataAnnotations.Schema;
using System.Globalization;
using System.Text.Json;
using Crm.Contacts.Domain.Imports;
using Crm.Contracts;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Imports;

/// <summary>Imports, one import, and what became of its rows.</summary>
internal static class ReadImports
{
    public static readonly string[] ResultParameters = ["limit", "cursor", "outcome", "undo"];

    /// <param name="Row">Counted from 1, without the header.</param>
    /// <param name="Code">Of the problem, when the row failed; <paramref name="Errors"/> says where.</param>
    /// <param name="Undo">What an undo did with the row's customer; refused has a reason: <c>edited merged erased deleted legal_hold has_consents has_orders
    /// has_relationships has_account_manager has_grants value_taken</c>, and of what other services have <c>has_interactions
    /// has_cases has_orders has_invoices has_payments has_billing_accounts has_messages</c>.</param>
    public sealed record ResultView(int Row, ImportOutcome Outcome, string? CustomerId, string? Code, IReadOnlyList<FieldError>? Errors, UndoOutcome? Undo, string? UndoReason);

    public static Task<Page<ImportView>> List(HttpRequest request, ContactsDb db, CancellationToken ct) =>
        db.Imports.AsNoTracking().ToPageAsync(PageRequest.Read(request, Ids.Import), i => i.Id, Ids.Import, ImportView.Of, ct);

    public static async Task<Ok<ImportView>> One(string id, ContactsDb db, CancellationToken ct) => TypedResults.Ok(ImportView.Of(await db.FindImportAsync(id, ct)));

    /// <summary>In the order of the file; <c>outcome=failed</c> and <c>undo=refused</c> list what somebody must look at.</summary>
    public static async Task<Page<ResultView>> Results(string id, HttpRequest request, ContactsDb db, CancellationToken ct)
    {
        var import = await db.FindImportAsync(id, ct);
        var limit = PageRequest.ReadLimit(request);
        var after = 0;
        if (request.Query["cursor"] is [{ } cursor] && !int.TryParse(cursor, NumberStyles.None, CultureInfo.InvariantCulture, out after))
        {
            throw ProblemException.InvalidParameter("cursor", "This is not a cursor of this list.");
        }

        var (outcome, undo) = (request.ReadWord<ImportOutcome>("outcome")?.ToWord(), request.ReadWord<UndoOutcome>("undo")?.ToWord());
        var rows = await db.Database.SqlQuery<Row>($"""
            SELECT row_no, outcome, customer_id, code, errors::text AS errors, undo, undo_reason FROM import_results
            WHERE import_id = {import.Id} AND row_no > {after} AND ({outcome}::text IS NULL OR outcome = {outcome}) AND ({undo}::text IS NULL OR undo = {undo})
            ORDER BY row_no LIMIT {limit + 1}
            """).ToListAsync(ct);
        var more = rows.Count > limit;
        var page = rows.Take(limit).Select(r => r.View()).ToList();
        return new(page, more, more ? page[^1].Row.ToString(CultureInfo.InvariantCulture) : null);
    }

    /// <exception cref="ProblemException">404.</exception>
    public static async Task<Import> FindImportAsync(this ContactsDb db, string id, CancellationToken ct) =>
        Ids.Import.TryParse(id, out var key) && await db.Imports.AsNoTracking().FirstOrDefaultAsync(i => i.Id == key, ct) is { } import
            ? import
            : throw ProblemException.NotFound("import");

    private sealed class Row
    {
        [Column("row_no")]
        public int RowNo { get; init; }

        [Column("outcome")]
        public string Outcome { get; init; } = "";

        [Column("customer_id")]
        public Guid? CustomerId { get; init; }

        [Column("code")]
        public string? Code { get; init; }

        [Column("errors")]
        public string? Errors { get; init; }

        [Column("undo")]
        public string? Undo { get; init; }

        [Column("undo_reason")]
        public string? UndoReason { get; init; }

        public ResultView View() => new(
            RowNo, EnumWords<ImportOutcome>.Parse(Outcome), Ids.Customer.Format(CustomerId), Code,
            Errors is null ? null : JsonSerializer.Deserialize<List<FieldError>>(Errors, JsonDefaults.Options),
            Undo is null ? null : EnumWords<UndoOutcome>.Parse(Undo), UndoReason);
    }
}

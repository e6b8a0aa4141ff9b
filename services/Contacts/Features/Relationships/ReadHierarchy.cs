using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Relationships;

/// <summary>
/// The whole organisation that a customer is part of, today or on the day of <c>at</c>, from the top: subsidiaries,
/// branches and locations, each below the one it belongs to; on a level by name, for who may read names: their order would tell
/// what a mask hides. Five thousand at most; then <c>truncated</c> says so.
/// </summary>
internal static class ReadHierarchy
{
    private const int Most = 5000;

    public static readonly string[] Parameters = ["at"];

    public sealed record Response(IReadOnlyList<Member> Data, bool Truncated);

    /// <param name="ParentId">Null at the top.</param>
    /// <param name="Type">What it is to the parent.</param>
    /// <param name="Level">0 at the top.</param>
    public sealed record Member(string Id, [property: FieldGroup(FieldGroups.Names)] string DisplayName, string? ParentId, RelationshipType? Type, int Level);

    public static async Task<Ok<Response>> Handle(string id, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var day = RelationshipReads.ReadDay(http.Request) ?? clock.Today();
        var customer = await db.FindAtPathAsync(id, http, ct);
        var byName = CallerRights.Current.Read(FieldGroups.Names) == FieldAccess.Allow;
        var rows = await db.Database.SqlQuery<Row>($"""
            SELECT t.id, c.display_name, t.parent_id, t.type, t.level
            FROM organization_tree({customer}, {day}) AS t JOIN customers c ON c.id = t.id AND c.state = 'active'
            ORDER BY t.level, CASE WHEN {byName} THEN c.display_name END, t.id LIMIT {Most + 1}
            """).ToListAsync(ct);
        var seen = await db.FindSeenAsync([.. rows.Select(r => r.Id)], ct);
        return TypedResults.Ok(new Response(
            [.. rows.Take(Most).Where(r => seen.Contains(r.Id)).Select(r => new Member(
                Ids.Customer.Format(r.Id), r.DisplayName, r.ParentId is { } parent && seen.Contains(parent) ? Ids.Customer.Format(parent) : null, r.Type is null ? null : EnumWords<RelationshipType>.Parse(r.Type), r.Level))],
            rows.Count > Most));
    }

    private sealed record Row(
        [property: Column("id")] Guid Id, [property: Column("display_name")] string DisplayName, [property: Column("parent_id")] Guid? ParentId,
        [property: Column("type")] string? Type, [property: Column("level")] int Level);
}

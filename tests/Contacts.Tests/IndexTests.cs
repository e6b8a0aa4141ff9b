namespace Contacts.Tests;

/// <summary>What has an index, so that it takes no longer the more others there are.</summary>
public sealed class IndexTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task What_was_recorded_under_a_customer_is_found_by_an_index_in_every_table()
    {
        var columns = new List<(string Name, bool Indexed)>();
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var list = database.CreateCommand("""
            SELECT format('%s.%s', c.relname, a.attname), EXISTS (
                SELECT FROM pg_index i
                WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND coalesce(pg_get_expr(i.indpred, c.oid), '') IN ('', format('(%s IS NOT NULL)', a.attname)))
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE n.nspname = current_schema() AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND starts_with(a.attname::text, 'origin_')
            """);
        await using var reader = await list.ExecuteReaderAsync(Ct);
        while (await reader.ReadAsync(Ct))
        {
            columns.Add((reader.GetString(0), reader.GetBoolean(1)));
        }

        Assert.Contains(("consents.origin_customer_id", true), columns);
        Assert.DoesNotContain(columns, c => !c.Indexed);
    }
}

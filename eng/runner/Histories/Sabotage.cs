using Npgsql;

namespace Crm.Runner.Histories;

/// <summary>Takes a guarantee away, behind the back of the services, to show that its loss would be seen.</summary>
public static class Sabotage
{
    /// <summary>No message is recognised that had come before: what the inbox takes in it forgets in the same transaction.</summary>
    public static Task DisableInboxAsync(Platform platform, CancellationToken ct) => RunAsync(platform, """
        CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM inbox WHERE consumer = NEW.consumer AND message_id = NEW.message_id; RETURN NULL; END $$;
        CREATE TRIGGER forget AFTER INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION forget();
        """, ct);

    /// <summary>One event of fifty is gone, as of a process that ends between its commit and its publish.</summary>
    public static Task DisableOutboxAsync(Platform platform, CancellationToken ct) => RunAsync(platform, """
        CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF random() < 0.02 THEN DELETE FROM outbox WHERE id = NEW.id; END IF; RETURN NULL; END $$;
        CREATE TRIGGER lose AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION lose();
        """, ct);

    private static async Task RunAsync(Platform platform, string sql, CancellationToken ct)
    {
        foreach (var service in platform.Services.Keys)
        {
            await using var database = NpgsqlDataSource.Create(await platform.ConnectionStringAsync(service));
            await using var command = database.CreateCommand(sql);
            await command.ExecuteNonQueryAsync(ct);
        }
    }
}

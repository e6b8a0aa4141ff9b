using System.Security.Cryptography;
using System.Text;

namespace Crm.Runner.Images;

/// <summary>
/// PostgreSQL and RabbitMQ where nothing can be pulled: images of Debian's packages, in the engine of this clone. Tests start
/// them with the variables and arguments of the public ones (postgres, rabbitmq), the trial on a cluster with scripts of its own.
/// </summary>
/// <param name="Folders">The user's own.</param>
/// <param name="Changes">As docker import takes them.</param>
internal sealed record ServerImages(string Server, string Package, string Entrypoint, IReadOnlyList<string> Folders, IReadOnlyList<string> Changes)
{
    private const int User = 999;

    /// <summary>What the servers' scripts call; they have a shell, as the public ones do.</summary>
    private const string Tools = "base-files,libc-bin,dash,coreutils,sed,grep,hostname,tzdata";

    private static readonly string[] NotNeeded = ["usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/i18n", "var/cache", "var/lib/apt", "var/log/apt"];

    public static readonly ServerImages Postgres = new(
        "postgres",
        "postgresql-15",
        """
        #!/bin/sh
        set -eu
        if [ ! -s "$PGDATA/PG_VERSION" ]; then
          umask 077
          printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
          initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile=/tmp/password $POSTGRES_INITDB_ARGS
          rm /tmp/password
        fi
        exec "$@"
        """,
        ["var/lib/postgresql/data", "var/run/postgresql"],
        ["ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data", "VOLUME /var/lib/postgresql/data", "CMD [\"postgres\"]"]);

    public static readonly ServerImages RabbitMq = new(
        "rabbitmq",
        "rabbitmq-server",
        """
        #!/bin/sh
        exec "$@"
        """,
        ["var/lib/rabbitmq", "var/log/rabbitmq", "etc/rabbitmq"],
        ["ENV PATH=/usr/lib/rabbitmq/bin:/usr/bin:/bin HOME=/var/lib/rabbitmq LANG=C.UTF-8", "VOLUME /var/lib/rabbitmq", "CMD [\"rabbitmq-server\"]"]);

    public static IReadOnlyList<ServerImages> All => [Postgres, RabbitMq];

    /// <summary>The tag says what it was made from, so that a change here makes a new one.</summary>
    public string Name => $"crm-test-{Server}:{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', [Tools, Package, Entrypoint, .. Folders, .. Changes]))))[..12]}";

    public static async Task BuildAsync(ContainerEngine engine, string folder, Action<string, string> progress, CancellationToken ct)
    {
        foreach (var image in All)
            await image.BuildOneAsync(engine, folder, progress, ct);
    }

    public async Task<bool> IsThereAsync(ContainerEngine engine, CancellationToken ct = default) => (await engine.RunAsync(["image", "inspect", Name], ct)).ExitCode == 0;

    private async Task BuildOneAsync(ContainerEngine engine, string folder, Action<string, string> progress, CancellationToken ct)
    {
        if (await IsThereAsync(engine, ct))
        {
            progress(Server, $"{Name} is there");
            return;
        }

        progress(Server, $"making {Name} from Debian's packages, a minute");
        Directory.CreateDirectory(folder);
        var root = Path.Combine(folder, Server);
        await DebianBase.ExtractAsync($"{Tools},{Package}", root, ct);
        foreach (var rest in NotNeeded.Select(p => Path.Combine(root, p)).Where(Directory.Exists))
            Directory.Delete(rest, recursive: true);
        DebianBase.KeepLicencesOnly(root);
        await File.WriteAllTextAsync(Path.Combine(root, "etc/passwd"), $"root:x:0:0:root:/root:/bin/sh\n{Server}:x:{User}:{User}:{Server}:/{Folders[0]}:/bin/sh\n", ct);
        await File.WriteAllTextAsync(Path.Combine(root, "etc/group"), $"root:x:0:\n{Server}:x:{User}:\n", ct);
        var entrypoint = Path.Combine(root, "entrypoint");
        await File.WriteAllTextAsync(entrypoint, Entrypoint + "\n", ct);
        File.SetUnixFileMode(entrypoint, (UnixFileMode)Convert.ToInt32("755", 8));
        foreach (var own in Folders.Select(f => Path.Combine(root, f)))
        {
            Directory.CreateDirectory(own);
            await DebianBase.RequireAsync(["chown", "-R", $"{User}:{User}", own], ct);
        }

        var archive = Path.Combine(folder, Server + ".tar");
        await DebianBase.RequireAsync(["tar", "--numeric-owner", "-C", root, "-cf", archive, "."], ct);
        await engine.RequireAsync(["import", .. Changes.Prepend("ENTRYPOINT [\"/entrypoint\"]").Append($"USER {User}").SelectMany(c => new[] { "--change", c }), archive, Name], ct);
        Directory.Delete(root, recursive: true);
        File.Delete(archive);
        progress(Server, Name);
    }
}

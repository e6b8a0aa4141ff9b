using System.ComponentModel.DataAnnotations;
using Npgsql;

namespace Crm.Hosting.Data;

/// <summary>
/// Section <c>Database</c>: the parts of a connection string, as database operators hand them out in secrets of several
/// keys. <c>ConnectionStrings:Database</c> takes its place.
/// </summary>
public sealed class DatabaseOptions : IValidatableObject
{
    public string? Host { get; init; }

    [Range(1, 65535)]
    public int Port { get; init; } = 5432;

    public string? Name { get; init; }

    public string? Username { get; init; }

    /// <summary>A mounted secret.</summary>
    public string? Password { get; init; }

    /// <summary>Certificates (PEM) that the server's must come from; its name is checked too. None: TLS only if the server wants it.</summary>
    public string? RootCertificate { get; init; }

    /// <summary>Connections of one replica, without that of its readiness (<see cref="Health"/>).</summary>
    [Range(5, 1000)]
    public int MaxPoolSize { get; init; } = 50;

    /// <summary>Statements that each connection keeps prepared, those used most. 0: none, as a pooler in between may need it.</summary>
    [Range(0, 10_000)]
    public int MaxAutoPrepare { get; init; } = 200;

    /// <summary>Seconds that <c>--migrate</c> waits for a server that does not answer, that starts, or that has no connection left.</summary>
    [Range(0, 86_400)]
    public int MigrationWaitSeconds { get; init; } = 300;

    /// <summary>All of it as one string; set by the host from <c>ConnectionStrings:Database</c>.</summary>
    internal string? ConnectionString { get; set; }

    internal string Build() => ConnectionString is { Length: > 0 } whole ? whole : new NpgsqlConnectionStringBuilder
    {
        Host = Host,
        Port = Port,
        Database = Name,
        Username = Username,
        Password = Password,
        MaxPoolSize = MaxPoolSize,
        SslMode = RootCertificate is null ? SslMode.Prefer : SslMode.VerifyFull,
        RootCertificate = RootCertificate,
    }.ConnectionString;

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (ConnectionString is { Length: > 0 } whole)
        {
            if (!CanBeRead(whole))
            {
                yield return new("ConnectionStrings:Database is not a connection string of PostgreSQL.");
            }

            yield break;
        }

        if (Host is not { Length: > 0 } || Name is not { Length: > 0 } || Username is not { Length: > 0 })
        {
            yield return new("ConnectionStrings:Database, or Database:Host, Name and Username, must be set.", [nameof(Host), nameof(Name), nameof(Username)]);
        }

        if (RootCertificate is { } file && !File.Exists(file))
        {
            yield return new($"Database:RootCertificate: there is no file {file}.", [nameof(RootCertificate)]);
        }
    }

    private static bool CanBeRead(string text)
    {
        try
        {
            return new NpgsqlConnectionStringBuilder(text).Host is { Length: > 0 };
        }
        catch (Exception exception) when (exception is ArgumentException or FormatException)
        {
            return false;
        }
    }
}

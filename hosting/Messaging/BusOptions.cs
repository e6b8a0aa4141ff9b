using System.ComponentModel.DataAnnotations;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using RabbitMQ.Client;

namespace Crm.Hosting.Messaging;

/// <summary>
/// Section <c>Bus</c>. The broker's address is <see cref="Uri"/>, or its parts, as broker operators hand out user and
/// password in a secret of two keys.
/// </summary>
public sealed class BusOptions : IValidatableObject
{
    /// <summary>For example <c>amqp://user:password@host:5672/vhost</c>; <c>amqps</c> for TLS.</summary>
    public Uri? Uri { get; init; }

    public string? Host { get; init; }

    /// <summary>5671 with TLS, else 5672.</summary>
    [Range(1, 65535)]
    public int? Port { get; init; }

    public string? VirtualHost { get; init; }

    public string? Username { get; init; }

    /// <summary>A mounted secret.</summary>
    public string? Password { get; init; }

    public bool Tls { get; init; }

    /// <summary>Certificates (PEM) that the broker's must come from; none: those that the system trusts.</summary>
    public string? RootCertificate { get; init; }

    /// <summary>Messages that one consumer of a replica holds at a time.</summary>
    [Range(1, 1000)]
    public int Prefetch { get; init; } = 32;

    /// <summary>Messages that one consumer of a replica works on at a time.</summary>
    [Range(1, 256)]
    public int Concurrency { get; init; } = 8;

    /// <summary>With user and password.</summary>
    internal Uri Address => Uri ?? new UriBuilder(Tls ? "amqps" : "amqp", Host, Port ?? (Tls ? 5671 : 5672), System.Uri.EscapeDataString(VirtualHost ?? "/"))
    {
        UserName = System.Uri.EscapeDataString(Username!),
        Password = System.Uri.EscapeDataString(Password!),
    }.Uri;

    internal bool IsEncrypted => Address.Scheme == "amqps";

    /// <summary>For connections of our own, beside MassTransit's.</summary>
    internal ConnectionFactory Connections(string name)
    {
        var factory = new ConnectionFactory { Uri = Address, ClientProvidedName = name };
        if (IsEncrypted)
        {
            factory.Ssl = new SslOption(Address.Host, enabled: true) { CertificateValidationCallback = Trust() };
        }

        return factory;
    }

    /// <summary>What the broker's certificate must pass beside its name; null: the system's own check.</summary>
    internal RemoteCertificateValidationCallback? Trust()
    {
        if (RootCertificate is null)
        {
            return null;
        }

        var roots = new X509Certificate2Collection();
        roots.ImportFromPemFile(RootCertificate);
        return (_, certificate, chain, errors) =>
        {
            if (certificate is null || (errors & ~SslPolicyErrors.RemoteCertificateChainErrors) != SslPolicyErrors.None)
            {
                return false;
            }

            using var own = new X509Chain();
            own.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            own.ChainPolicy.CustomTrustStore.AddRange(roots);
            // An authority of one's own publishes no lists.
            own.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            foreach (var element in chain?.ChainElements ?? Enumerable.Empty<X509ChainElement>())
            {
                own.ChainPolicy.ExtraStore.Add(element.Certificate);
            }

            return own.Build(certificate as X509Certificate2 ?? X509CertificateLoader.LoadCertificate(certificate.GetRawCertData()));
        };
    }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (Uri is { } whole)
        {
            if (!whole.IsAbsoluteUri || whole.Scheme is not ("amqp" or "amqps"))
            {
                yield return new("Bus:Uri is amqps://user:password@host/vhost, or amqp://….", [nameof(Uri)]);
                yield break;
            }
        }
        else if (Host is not { Length: > 0 } || Username is not { Length: > 0 } || Password is null)
        {
            yield return new("Bus:Uri, or Bus:Host, Username and Password, must be set.", [nameof(Uri), nameof(Host), nameof(Username), nameof(Password)]);
            yield break;
        }

        if (RootCertificate is { } file)
        {
            if (!IsEncrypted)
            {
                yield return new("Bus:RootCertificate is of use with TLS only: amqps, or Bus:Tls.", [nameof(RootCertificate)]);
            }

            if (!File.Exists(file))
            {
                yield return new($"Bus:RootCertificate: there is no file {file}.", [nameof(RootCertificate)]);
            }
        }
    }
}

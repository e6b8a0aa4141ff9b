using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Crm.Runner;
using Crm.Testing;
using Npgsql;

namespace Kubernetes.Tests;

/// <summary>Database and broker over TLS, in the parts that operators hand out, as overlays/production sets them.</summary>
[Collection(MeasuredPlatform.Collection)]
public sealed class TlsTests(MeasuredPlatform fixture)
{
    private static readonly string[] Whole = ["ConnectionStrings__Database", "Bus__Uri"];

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_service_reaches_database_and_broker_whose_certificates_its_authority_signed_and_no_others()
    {
        using var authority = new Authority("ours");
        using var stranger = new Authority("another");
        var database = new NpgsqlConnectionStringBuilder(await fixture.Platform.ConnectionStringAsync("support"));
        var broker = new Uri(fixture.Platform.BusUri);
        await using var postgres = new TlsDoor(authority, database.Port, isPostgres: true);
        await using var rabbit = new TlsDoor(authority, broker.Port, isPostgres: false);
        var secrets = fixture.Platform.Secrets.FolderOf("support");
        var support = fixture.Platform["support"];
        var parts = new Dictionary<string, string>
        {
            ["Database__Host"] = "localhost",
            ["Database__Port"] = postgres.Port.ToString(CultureInfo.InvariantCulture),
            ["Database__Name"] = database.Database!,
            ["Database__Username"] = database.Username!,
            ["Database__Password"] = database.Password!,
            ["Database__RootCertificate"] = await authority.WriteAsync(),
            ["Bus__Host"] = "localhost",
            ["Bus__Port"] = rabbit.Port.ToString(CultureInfo.InvariantCulture),
            ["Bus__VirtualHost"] = "crm",
            ["Bus__Username"] = broker.UserInfo.Split(':')[0],
            ["Bus__Password"] = broker.UserInfo.Split(':')[1],
            ["Bus__Tls"] = "true",
            ["Bus__RootCertificate"] = await authority.WriteAsync(),
        };
        var before = Whole.ToDictionary(name => name, name => File.ReadAllText(Path.Combine(secrets, name)));
        try
        {
            // It would drain first.
            await support.KillAsync();
            Array.ForEach(Whole, name => File.Delete(Path.Combine(secrets, name)));
            foreach (var (name, value) in parts)
            {
                await fixture.Platform.Secrets.WriteAsync("support", name, value);
            }

            await support.StartAsync(ct: Ct);
            using var partner = fixture.Platform.CreateClient();
            using var created = await partner.PostAsJsonAsync("v1/customers", new { kind = "person", given_name = "Encrypted", source = new { type = "enquiry" } }, Ct);
            var id = (string)(await created.Content.ReadFromJsonAsync<JsonObject>(Ct))!["id"]!;
            await Eventually.GetAsync(
                async () => (string?)(await partner.GetFromJsonAsync<JsonObject>($"v1/customers/{id}/overview", Ct))!["support"]!["status"], s => s == "ok", ct: Ct);
            Assert.True(postgres.Connections > 0 && rabbit.Connections > 1, $"{postgres.Connections} to the database, {rabbit.Connections} to the broker");

            await support.KillAsync();
            await fixture.Platform.Secrets.WriteAsync("support", "Database__RootCertificate", await stranger.WriteAsync());
            var refused = await support.RunModeAsync(["--migrate"], Ct);
            Assert.Equal(1, refused.ExitCode);
            Assert.Contains("certificate", refused.Output, StringComparison.OrdinalIgnoreCase);

            await fixture.Platform.Secrets.WriteAsync("support", "Database__RootCertificate", parts["Database__RootCertificate"]);
            await fixture.Platform.Secrets.WriteAsync("support", "Bus__RootCertificate", await stranger.WriteAsync());
            var (attempts, connections) = (rabbit.Attempts, rabbit.Connections);
            await support.StartAsync(ct: Ct);
            await Eventually.GetAsync(() => Task.FromResult(rabbit.Attempts), now => now > attempts + 2, ct: Ct);
            Assert.Equal(connections, rabbit.Connections);
        }
        finally
        {
            await support.KillAsync();
            foreach (var name in parts.Keys)
            {
                File.Delete(Path.Combine(secrets, name));
            }

            foreach (var (name, value) in before)
            {
                await fixture.Platform.Secrets.WriteAsync("support", name, value);
            }

            await support.StartAsync(ct: Ct);
        }
    }

    private sealed class Authority : IDisposable
    {
        private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        private readonly X509Certificate2 _root;

        public Authority(string name)
        {
            var request = new CertificateRequest($"CN={name}", _key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, pathLengthConstraint: 0, critical: true));
            request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
            request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
            _root = request.CreateSelfSigned(TimeProvider.System.GetUtcNow().AddDays(-1), TimeProvider.System.GetUtcNow().AddDays(1));
        }

        public X509Certificate2 Issue(string host)
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest($"CN={host}", key, HashAlgorithmName.SHA256);
            var names = new SubjectAlternativeNameBuilder();
            names.AddDnsName(host);
            request.CertificateExtensions.Add(names.Build());
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], critical: false));
            using var issued = request.Create(_root, TimeProvider.System.GetUtcNow().AddHours(-1), TimeProvider.System.GetUtcNow().AddHours(12), RandomNumberGenerator.GetBytes(8));
            return issued.CopyWithPrivateKey(key);
        }

        public async Task<string> WriteAsync()
        {
            var file = Path.Combine(Reaper.TemporaryFolder("authority"), "ca.crt");
            await File.WriteAllTextAsync(file, _root.ExportCertificatePem(), Ct);
            return file;
        }

        public void Dispose()
        {
            _root.Dispose();
            _key.Dispose();
        }
    }

    /// <summary>TLS in front of a server that speaks none.</summary>
    private sealed class TlsDoor : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly X509Certificate2 _certificate;
        private readonly int _target;
        private readonly bool _isPostgres;
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _accepting;
        private int _attempts;
        private int _connections;

        public TlsDoor(Authority authority, int target, bool isPostgres)
        {
            _certificate = authority.Issue("localhost");
            (_target, _isPostgres) = (target, isPostgres);
            _listener.Start();
            _accepting = AcceptAsync();
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public int Attempts => Volatile.Read(ref _attempts);

        /// <summary>Whose client believed the certificate.</summary>
        public int Connections => Volatile.Read(ref _connections);

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            _listener.Stop();
            await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _certificate.Dispose();
            _stop.Dispose();
        }

        private async Task AcceptAsync()
        {
            while (!_stop.IsCancellationRequested)
            {
                var client = await _listener.AcceptTcpClientAsync(_stop.Token);
                Interlocked.Increment(ref _attempts);
                _ = ServeAsync(client);
            }
        }

        private async Task ServeAsync(TcpClient client)
        {
            try
            {
                using var accepted = client;
                using var server = new TcpClient();
                await server.ConnectAsync(IPAddress.Loopback, _target, _stop.Token);
                if (_isPostgres)
                {
                    await AgreeAsync(client.GetStream());
                }

                await using var outside = new SslStream(client.GetStream());
                await outside.AuthenticateAsServerAsync(new SslServerAuthenticationOptions { ServerCertificate = _certificate }, _stop.Token);
                // The client speaks first; one that does not believe the certificate never does.
                var opening = new byte[16 * 1024];
                var length = await outside.ReadAsync(opening, _stop.Token);
                if (length == 0)
                {
                    return;
                }

                Interlocked.Increment(ref _connections);
                var inside = server.GetStream();
                await inside.WriteAsync(opening.AsMemory(0, length), _stop.Token);
                await Task.WhenAny(outside.CopyToAsync(inside, _stop.Token), inside.CopyToAsync(outside, _stop.Token));
            }
            catch (Exception exception) when (exception is IOException or SocketException or OperationCanceledException or System.Security.Authentication.AuthenticationException)
            {
                // One of the two went away.
            }
        }

        /// <summary>PostgreSQL's own opening: the client asks for GSS (refused) and TLS (granted) by a number each.</summary>
        private async Task AgreeAsync(NetworkStream stream)
        {
            var request = new byte[8];
            while (true)
            {
                await stream.ReadExactlyAsync(request, _stop.Token);
                var isTls = BinaryPrimitives.ReadInt32BigEndian(request.AsSpan(4)) == 80877103;
                await stream.WriteAsync(new[] { isTls ? (byte)'S' : (byte)'N' }, _stop.Token);
                if (isTls)
                {
                    return;
                }
            }
        }
    }
}

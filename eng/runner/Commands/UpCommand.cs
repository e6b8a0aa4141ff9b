using System.Net;
using System.Net.Http.Headers;

namespace Crm.Runner.Commands;

/// <summary>Starts what does not run yet, in the order in which it is needed.</summary>
internal static class UpCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var root = Topology.FindRoot();
        var topology = Topology.Load(root);
        using var installation = Installation.Open(root);
        if (File.Exists(Backups.Restore.UnfinishedFile(installation.Folder)))
            throw new RunnerException("A restore was interrupted: some databases are restored and some are not.", "Run it again: ./crm restore <folder> --overwrite");
        var postgres = Environment.GetEnvironmentVariable("CRM_POSTGRES") is { Length: > 0 } p ? p : null;
        var rabbit = Environment.GetEnvironmentVariable("CRM_RABBITMQ") is { Length: > 0 } r ? r : null;
        var needed = topology.Entries.Select(e => e.Name)
            .Where(n => !(n == "postgres" && postgres is not null) && !(n == "rabbitmq" && rabbit is not null)).ToList();

        var ports = PortMap.FromEnvironment(topology);
        if (needed.Any(installation.IsRunning) && installation.Ports is { } used)
            ports = used;
        var progress = new Progress();
        var build = Build.Programs(topology);
        var options = new PlatformOptions
        {
            Topology = topology,
            Folder = installation.Folder,
            Ports = ports,
            ExternalPostgres = postgres,
            ExternalRabbitMq = rabbit,
            Progress = progress.Step,
            Installation = installation,
        };

        if (needed.All(installation.IsRunning) && await AllReadyAsync(new Platform(options), ct))
        {
            if (!build.IsCurrent)
                Console.WriteLine("The sources changed since the start: ./crm down && ./crm up runs the new ones.");
            PrintWay(installation, ports, "Already running, nothing changed.");
            return 0;
        }

        RefuseTakenPorts(topology, ports, needed.Where(n => !installation.IsRunning(n)));
        installation.Use(ports, topology.Entries.Select(e => e.Name).Except(needed));
        if (postgres is null)
            PrivatePostgres.RequireInstalled();
        if (rabbit is null)
            PrivateRabbitMq.RequireInstalled();

        // A build writes over the programs of running services.
        if (!build.IsCurrent && topology.Services.Any(s => installation.IsRunning(s.Name)))
        {
            progress.Step("services", "the sources changed: stopping what still runs");
            await DownCommand.StopServicesAsync(installation, topology);
        }

        var infrastructure = new Platform(options);
        await Task.WhenAll(
            InstalledServers.StartPostgresAsync(infrastructure, installation, progress.Step, ct),
            InstalledServers.StartRabbitMqAsync(infrastructure, installation, progress.Step, ct),
            build.RunAsync(progress.Step, ct));

        // Described again: only now is everything built.
        var platform = new Platform(options) { Postgres = infrastructure.Postgres, RabbitMq = infrastructure.RabbitMq };
        platform.RequireBuilt();
        StartMail(installation, topology, ports, progress);
        await platform.CreateDatabasesAsync(ct);
        await platform.WriteKeysAsync();
        if (!topology.Services.All(s => installation.IsRunning(s.Name)))
            await platform.MigrateAsync(ct: ct);
        await platform.StartServicesAsync(ct);
        await EnsureCredentialsAsync(installation, platform, ct);
        PrintWay(installation, ports, "");
        return 0;
    }

    private static async Task<bool> AllReadyAsync(Platform platform, CancellationToken ct)
    {
        var answers = await Task.WhenAll(platform.Services.Values.Select(s => s.ProbeAsync(ct)));
        return answers.All(a => a.Ready);
    }

    private static void RefuseTakenPorts(Topology topology, PortMap ports, IEnumerable<string> starting)
    {
        var taken = new List<string>();
        TopologyEntry? first = null;
        foreach (var entry in starting.Select(n => topology[n]))
        {
            foreach (var binding in entry.Bindings)
            {
                var port = ports[entry.Name, binding.Name];
                if (!PortOwner.IsListening(port))
                    continue;
                first ??= entry;
                taken.Add($"Port {port} ({entry.Name} {binding.Name}) is taken by {PortOwner.Describe(port)}; choose another: {PortMap.VariableName(entry, binding)}=<port> ./crm up");
            }
        }

        if (first is not null)
        {
            throw new RunnerException(
                string.Join("\n     ", taken),
                "Stop that process, or choose other ports as above, or move all of them: CRM_PORT_OFFSET=1000 ./crm up\nNothing was started.");
        }
    }

    private static void StartMail(Installation installation, Topology topology, PortMap ports, Progress progress)
    {
        var entry = topology["smtp"];
        if (installation.IsRunning(entry.Name))
            return;
        var port = ports[entry.Name, entry.Bindings[0].Name];
        var program = Path.Combine(AppContext.BaseDirectory, "Crm.Runner.dll");
        installation.Record(OwnedProcess.Start(new ProcessSpec
        {
            Name = entry.Name,
            Command = ["dotnet", program, entry.Arguments!, "--port", port.ToString(System.Globalization.CultureInfo.InvariantCulture), "--folder", Path.Combine(installation.Folder, "mail")],
            LogFile = installation.LogFile(entry.Name),
            Environment = installation.MarkOf(entry.Name),
        }));
        progress.Step(entry.Name, $"mail catcher on 127.0.0.1:{port}, mails in {Path.Combine(installation.Folder, "mail")}");
    }

    private static async Task EnsureCredentialsAsync(Installation installation, Platform platform, CancellationToken ct)
    {
        var url = platform.GatewayAddress.ToString().TrimEnd('/');
        var partner = installation.ReadCredentials().GetValueOrDefault("CRM_PARTNER_KEY");
        if (partner is null || !await IsKnownAsync(platform, partner, ct))
            partner = await platform.CreatePartnerKeyAsync(ct);
        await SecretFile.WriteAsync(installation.CredentialsFile, $"CRM_URL={url}\nCRM_ADMIN_KEY={platform.AdminKey}\nCRM_PARTNER_KEY={partner}\n");
    }

    /// <summary>The key of an earlier start is kept unless the gateway no longer knows it (its database was replaced).</summary>
    private static async Task<bool> IsKnownAsync(Platform platform, string key, CancellationToken ct)
    {
        using var client = platform.CreateClient(null);
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        using var answer = await client.GetAsync(new Uri("v1/customers?limit=1", UriKind.Relative), ct);
        return answer.StatusCode != HttpStatusCode.Unauthorized;
    }

    private static void PrintWay(Installation installation, PortMap ports, string opening)
    {
        var file = Path.GetRelativePath(installation.Root, installation.CredentialsFile);
        Console.WriteLine($"""
            {opening}
              API          http://127.0.0.1:{ports["gateway", "http"]}/v1        description: http://127.0.0.1:{ports["gateway", "http"]}/openapi/v1.json
              credentials  {installation.CredentialsFile} (admin key and partner key)
              mails        {Path.Combine(installation.Folder, "mail")}
              logs         ./crm logs [service]; stop: ./crm down; sample data: ./crm demo

            Try:
              cd {installation.Root} && . {file}
              curl -s -H "Authorization: Bearer $CRM_PARTNER_KEY" "$CRM_URL/v1/customers?limit=5"

            Crm.Platform is ready: http://127.0.0.1:{ports["gateway", "http"]}
            """);
    }
}

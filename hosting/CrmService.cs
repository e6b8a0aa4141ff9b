using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Reflection;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Rpc;
using Crm.Hosting.Messaging;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Configuration.Memory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Npgsql;

namespace Crm.Hosting;

/// <summary>The service's name on the wire, such as <c>billing-sync</c>.</summary>
public sealed record ServiceName(string Value);

/// <summary>What every service does the same way; a service's <c>Program.cs</c> adds what is its own.</summary>
public static class CrmService
{
    /// <summary>Largest JSON body, in bytes.</summary>
    public const int BodyLimit = 1_000_000;

    /// <summary>What the process itself reads by name; the other settings are sections.</summary>
    private static readonly Setting[] Everywhere =
    [
        new("CRM_SECRETS"), new("Policy__File"), new("Ports__Address", "0.0.0.0"), new("Ports__Http", "8080"), new("Ports__Grpc", "8081"),
        new("Logging__Console__FormatterName", JsonLogLines.FormatterName),
    ];

    /// <summary>
    /// Configuration, ports, telemetry, problems, health, internal authentication, database with outbox
    /// and inbox, bus, gRPC server.
    /// </summary>
    public static void AddCrmService<TDb>(this WebApplicationBuilder builder, string service, Action<BusConsumers>? consumers = null) where TDb : CrmDbContext
    {
        builder.AddCrmProcess(service);
        builder.AddCrmDatabase<TDb>();
        builder.AddCrmBus<TDb>(service, consumers);
        builder.Services.AddInternalAuth();
        builder.Services.AddCrmGrpc();
        builder.Services.AddCrmOpenApi();
    }

    /// <summary>What the gateway shares with the services: configuration, ports, telemetry, problems, JSON.</summary>
    public static void AddCrmProcess(this WebApplicationBuilder builder, string service)
    {
        // Statements and requests are spans, not log lines; a failed statement is logged where it is handled.
        builder.Configuration.Sources.Insert(0, new MemoryConfigurationSource
        {
            InitialData = new Dictionary<string, string?>
            {
                ["Logging:LogLevel:Microsoft"] = "Warning",
                ["Logging:LogLevel:Microsoft.Hosting.Lifetime"] = "Information",
                ["Logging:LogLevel:Microsoft.EntityFrameworkCore.Database.Command"] = "None",
                ["Logging:LogLevel:Microsoft.EntityFrameworkCore.Update"] = "None",
                ["Logging:LogLevel:System.Net.Http"] = "Warning",
                ["Logging:LogLevel:Grpc"] = "Warning",
                ["Logging:LogLevel:Npgsql"] = "Warning",
                ["Logging:Console:FormatterName"] = JsonLogLines.FormatterName,
            },
        });
        if (Environment.GetEnvironmentVariable("CRM_SECRETS") is { Length: > 0 } secrets)
        {
            builder.Configuration.AddKeyPerFile(Path.GetFullPath(secrets), optional: false);
        }

        builder.Services.AddSingleton(new ServiceName(service));
        builder.Services.TryAddSingleton<TimeProvider>(new ColumnClock());
        builder.AddCrmTelemetry(service);
        builder.ConfigurePorts();
        foreach (var setting in Everywhere)
        {
            builder.Services.AddSetting(setting);
        }

        builder.Services.AddSettings<ShutdownOptions>("Shutdown");
        builder.Services.AddHostedService<Drain>();
        builder.Services.Configure<HostOptions>(o => o.ShutdownTimeout = TimeSpan.FromSeconds(30));
        builder.Services.AddSingleton(Contracts.Policy.Load(builder.Configuration["Policy:File"]));
        builder.Services.ConfigureHttpJsonOptions(o => FieldRules.ForCaller(JsonDefaults.Configure(o.SerializerOptions)));
        builder.Services.Configure<RouteHandlerOptions>(o => o.ThrowOnBadRequest = true);
        builder.Services.AddExceptionHandler<ProblemExceptionHandler>();
        builder.Services.AddSingleton<IProblemDetailsWriter, ProblemWriter>();
        builder.Services.AddProblemDetails();
        builder.Services.AddSingleton<Validation>();
    }

    /// <summary>The database behind <c>ConnectionStrings:Database</c>, its migrations and its health.</summary>
    public static void AddCrmDatabase<TDb>(this WebApplicationBuilder builder) where TDb : CrmDbContext
    {
        builder.Services.AddSetting(new("ConnectionStrings__Database"));
        builder.Services.AddSettings<DatabaseOptions>("Database")
            .Configure<IConfiguration>((options, configuration) => options.ConnectionString = configuration.GetConnectionString("Database"));
        builder.Services.AddSingleton(provider => DataSource(provider).Build());
        builder.Services.AddSingleton<OutboxSignal>();
        builder.Services.AddDbContextPool<TDb>((provider, db) => db
            .UseNpgsql(provider.GetRequiredService<NpgsqlDataSource>())
            .AddInterceptors(provider.GetRequiredService<OutboxSignal>().Commits)
            .ConfigureWarnings(w => w.Ignore(
                Microsoft.EntityFrameworkCore.Diagnostics.CoreEventId.SaveChangesFailed,
                // What belongs to a customer whom the caller does not see is meant to be left out of a join with customers.
                Microsoft.EntityFrameworkCore.Diagnostics.CoreEventId.PossibleIncorrectRequiredNavigationWithQueryFilterInteractionWarning)));
        builder.Services.AddScoped<CrmDbContext>(provider => provider.GetRequiredService<TDb>());
        builder.Services.AddSingleton(new MigrationModule("hosting", typeof(CrmService).Assembly));
        builder.Services.AddSingleton(new MigrationModule("service", typeof(TDb).Assembly));
        builder.Services.AddSingleton<Migrator>();
        builder.Services.AddHostedService<SchemaCheck>();
        builder.Services.AddHostedService<DatabaseWatch>();
        builder.Services.AddHttpContextAccessor();
        builder.Services.AddSingleton<AuditChain>();
        builder.Services.AddHostedService(p => p.GetRequiredService<AuditChain>());
        builder.Services.AddCrmHealth();
    }

    /// <summary>The service's own database, as its settings name it.</summary>
    internal static NpgsqlDataSourceBuilder DataSource(IServiceProvider provider)
    {
        var options = provider.GetRequiredService<IOptions<DatabaseOptions>>().Value;
        var source = new NpgsqlDataSourceBuilder(options.Build());
        if (!source.ConnectionStringBuilder.ShouldSerialize("Max Auto Prepare"))
        {
            source.ConnectionStringBuilder.MaxAutoPrepare = options.MaxAutoPrepare;
        }

        source.ConnectionStringBuilder.ApplicationName ??= provider.GetRequiredService<IHostEnvironment>().ApplicationName;
        source.ConnectionStringBuilder.Timeout = 5;
        source.ConnectionStringBuilder.CommandTimeout = 15;
        source.UseLoggerFactory(null);
        return source;
    }

    /// <summary>The order of what happens to a request before an endpoint sees it.</summary>
    public static void UseCrmService(this WebApplication app)
    {
        app.UseCrmProblems();
        app.UseAuthentication();
        app.UseAuthorization();
        app.UseRowRules();
        app.UseDepartmentGrants();
        app.Use(QueryParameters.CheckAsync);
        app.Use(Idempotency.HandleAsync);
        app.MapCrmHealth();
        app.MapOpenApi("/openapi/{documentName}.json").AllowAnonymous();
    }

    /// <summary>Trace id on every answer, exceptions and empty error answers as problems; the end of connections while the process drains.</summary>
    public static void UseCrmProblems(this WebApplication app)
    {
        var stopping = app.Lifetime.ApplicationStopping;
        app.Use((http, next) =>
        {
            if (stopping.IsCancellationRequested)
            {
                DrainingConnections.Leave(http);
            }

            http.Response.OnStarting(() =>
            {
                if (stopping.IsCancellationRequested)
                {
                    DrainingConnections.Close(http);
                }

                if (Activity.Current is { } activity)
                {
                    http.Response.Headers["Crm-Trace-Id"] = activity.TraceId.ToHexString();
                }

                if (http.Items[ProblemExceptionHandler.ETagItem] is string etag)
                {
                    http.Response.Headers.ETag = etag;
                }

                return Task.CompletedTask;
            });
            return next(http);
        });
        app.UseExceptionHandler();
        app.UseStatusCodePages(context => Problems.WriteAsync(context.HttpContext, Contracts.ProblemCodes.OfStatus(context.HttpContext.Response.StatusCode)));
        // HEAD is GET without the body (RFC 9110, 9.3.2), which the server leaves out.
        app.Use((http, next) =>
        {
            if (HttpMethods.IsHead(http.Request.Method))
            {
                http.Request.Method = HttpMethods.Get;
            }

            return next(http);
        });
        app.UseRouting();
        app.Use(RouteValues.UnescapeSlashes);
        app.Use(GrpcServer.HandleAsync);
    }

    /// <summary>
    /// Serves; or, by argument, does one thing and ends: <c>--migrate</c>, <c>--migrate --check</c>, <c>--dead-letters …</c>,
    /// <c>--audit …</c>, <c>--find-personal-data …</c>, <c>--after-restore</c>, <c>--settings</c>.
    /// The result is the exit code.
    /// </summary>
    public static async Task<int> RunCrmServiceAsync(this WebApplication app, string[] args)
    {
        var logger = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("Crm");
        try
        {
            switch (args)
            {
                case ["--migrate", "--check"]:
                    return await MigrationCheck.RunAsync(app.Services, Console.Out, CancellationToken.None);
                case ["--migrate", var unknown, ..]:
                    await Console.Error.WriteLineAsync($"--migrate knows no {unknown}, only --check.");
                    return 2;
                case ["--migrate"]:
                    await app.Services.GetRequiredService<Migrator>().ApplyAsync(CancellationToken.None);
                    return 0;
                case ["--dead-letters", .. var rest]:
                    // The gateway has no bus, so it has none.
                    return app.Services.GetService<DeadLetters>() is { } deadLetters
                        ? await deadLetters.RunCommandAsync(rest, Console.Out, CancellationToken.None)
                        : 0;
                case ["--audit", .. var rest]:
                    return await app.Services.GetRequiredService<AuditChain>().RunCommandAsync(rest, Console.Out, CancellationToken.None);
                case ["--find-personal-data", .. var rest]:
                    return await ActivatorUtilities.CreateInstance<Erasure.PersonalDataSearch>(app.Services).RunCommandAsync(rest, Console.Out, CancellationToken.None);
                case ["--after-restore"]:
                    await using (var scope = app.Services.CreateAsyncScope())
                    {
                        await ActivatorUtilities.CreateInstance<AfterRestore>(scope.ServiceProvider).RunAsync(Console.Out, CancellationToken.None);
                    }

                    return 0;
                case ["--settings", ..]:
                    return await Settings.WriteAsync(app.Services, Console.Out);
                default:
                    await app.RunAsync();
                    return 0;
            }
        }
        catch (SchemaException exception)
        {
            CrmServiceLog.WrongSchema(logger, exception.Message);
            return exception.ExitCode;
        }
        catch (Exception exception)
        {
            CrmServiceLog.Ended(logger, exception);
            return 1;
        }
        finally
        {
            await app.DisposeAsync();
        }
    }

    private static void ConfigurePorts(this WebApplicationBuilder builder)
    {
        var section = builder.Configuration.GetSection("Ports");
        var address = IPAddress.Parse(section["Address"] ?? "0.0.0.0");
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = BodyLimit;
            kestrel.Limits.MaxRequestHeadersTotalSize = 32 * 1024;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(15);
            kestrel.Listen(address, Port(section, "Http", 8080), l => l.Protocols = HttpProtocols.Http1);
            if (section["Grpc"] is not "0")
            {
                kestrel.Listen(address, Port(section, "Grpc", 8081), l => l.Protocols = HttpProtocols.Http2);
            }
        });
    }

    private static int Port(IConfigurationSection section, string name, int fallback) =>
        section[name] is { } text ? int.Parse(text, CultureInfo.InvariantCulture) : fallback;
}

internal static partial class CrmServiceLog
{
    [LoggerMessage(LogLevel.Critical, "The service ended")]
    public static partial void Ended(ILogger logger, Exception exception);

    [LoggerMessage(LogLevel.Critical, "{Problem}")]
    public static partial void WrongSchema(ILogger logger, string problem);
}

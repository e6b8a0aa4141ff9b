using System.Diagnostics;
using Crm.Gateway;
using Crm.Gateway.Authentication;
using Crm.Gateway.Domain;
using Crm.Gateway.Features;
using Crm.Gateway.Limits;
using Crm.Gateway.OpenApi;
using Crm.Gateway.Proxy;
using Crm.Hosting;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.HttpOverrides;

// The routes are in appsettings.json beside the program, wherever it is started from.
var builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = args, ContentRootPath = AppContext.BaseDirectory });
builder.AddCrmProcess("gateway");
builder.AddCrmDatabase<GatewayDb>();
builder.Services.AddValidation();
builder.Services.AddCrmOpenApi();

builder.Services.AddSettings<GatewayOptions>("Gateway").Validate(
    options => options.AdminKey?.Trim() is not { Length: > 0 } key || KeySecret.TryParse(key, out _), "Gateway:AdminKey is not sk_live_ and 43 letters, digits, - or _.");
builder.Services.AddSingleton<DistributedContextPropagator, TraceWithoutBaggage>();
builder.Services.AddAuthKeys();
builder.Services.AddOidc();
builder.Services.AddSingleton<KeyDirectory>();
builder.Services.AddSingleton<CallerTokens>();
builder.Services.AddSingleton<AdminKey>();
builder.Services.AddHostedService(p => p.GetRequiredService<AdminKey>());
builder.Services.AddHealthChecks().AddCheck<AdminKey>("admin key", tags: ["ready"]);
builder.Services.AddHostedService<KeyUse>();
builder.Services.AddAuthentication(Caller.Scheme).AddScheme<AuthenticationSchemeOptions, CallerAuthentication>(Caller.Scheme, null);
builder.Services.AddScopeAuthorization();

builder.Services.AddSingleton<AddressLimiter>();
builder.Services.AddSingleton<Quotas>();
builder.Services.AddHostedService(p => p.GetRequiredService<Quotas>());
builder.Services.AddForwarding(builder.Configuration);
builder.AddOverview();
builder.AddProjections();

var trusted = builder.Configuration.GetSection("Gateway:TrustedProxies").Get<string[]>() ?? [];
builder.Services.Configure<ForwardedHeadersOptions>(forwarded =>
{
    forwarded.ForwardedHeaders = ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto;
    forwarded.KnownProxies.Clear();
    forwarded.KnownIPNetworks.Clear();
    foreach (var network in trusted)
    {
        forwarded.KnownIPNetworks.Add(System.Net.IPNetwork.Parse(network));
    }
});

var app = builder.Build();
if (args is ["--smoke-test", var gateway])
{
    // Before the routes are made: it knows no services, only a gateway's address.
    return await SmokeTest.RunAsync(app, gateway);
}

if (trusted.Length > 0)
{
    app.UseForwardedHeaders();
}

app.UseCrmProblems();
app.Use(EdgeRules.ApplyAsync);
app.UseAuthentication();
app.Use(RateLimiting.LimitAsync);
app.UseAuthorization();
app.UseRowRules();
app.Use(QueryParameters.CheckAsync);
app.MapCrmHealth();
app.MapGateway();
app.MapReverseProxy(proxy => proxy.UseForwardingProblems());
return args is ["--openapi", .. var rest] ? await OpenApiCommand.RunAsync(app, rest) : await app.RunCrmServiceAsync(args);

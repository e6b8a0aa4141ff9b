using System.Globalization;
using Crm.Conformance;
using Microsoft.AspNetCore.Server.Kestrel.Core;

var builder = WebApplication.CreateBuilder(args);
builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenLocalhost(
    int.Parse(builder.Configuration["Ports:Grpc"] ?? throw new InvalidOperationException("Ports__Grpc is not set."), CultureInfo.InvariantCulture),
    listen => listen.Protocols = HttpProtocols.Http2));
builder.Services.AddGrpc(options => options.ResponseCompressionAlgorithm = "gzip");
builder.Services.AddSingleton<Observations>();
builder.Services.AddSingleton(TimeProvider.System);

var app = builder.Build();
app.MapGrpcService<ConformanceService>();
await app.RunAsync();

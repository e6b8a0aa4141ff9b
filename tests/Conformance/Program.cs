using Crm.Conformance;
using Crm.Hosting;
using Crm.Hosting.Auth;
using Crm.Hosting.Rpc;

// A service with nothing of its own but a contract: what the client sees here holds for every service.
var builder = WebApplication.CreateBuilder(args);
builder.AddCrmProcess("conformance");
builder.Services.AddInternalAuth();
builder.Services.AddCrmGrpc();
builder.Services.AddSingleton<Observations>();

var app = builder.Build();
app.UseCrmProblems();
app.UseAuthentication();
app.UseAuthorization();
app.MapGrpcService<ConformanceService>();
await app.RunAsync();

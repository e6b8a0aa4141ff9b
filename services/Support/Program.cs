using Crm.CustomerCopy;
using Crm.Hosting;
using Crm.Support;
using Crm.Support.Features;

var builder = WebApplication.CreateBuilder(args);
builder.AddCrmServiceWithCustomers<SupportDb>("support");
builder.Services.AddValidation();

var app = builder.Build();
app.UseCrmService();
app.MapSupport();
app.MapGrpcService<SupportGrpc>();
app.MapCustomerCopy();
return await app.RunCrmServiceAsync(args);

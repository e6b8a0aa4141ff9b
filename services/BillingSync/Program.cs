using Crm.BillingSync;
using Crm.BillingSync.Features;
using Crm.CustomerCopy;
using Crm.Hosting;

var builder = WebApplication.CreateBuilder(args);
builder.AddCrmServiceWithCustomers<BillingSyncDb>("billing-sync");
builder.Services.AddValidation();

var app = builder.Build();
app.UseCrmService();
app.MapBillingSync();
app.MapGrpcService<BillingSyncGrpc>();
app.MapCustomerCopy();
return await app.RunCrmServiceAsync(args);

using Crm.CustomerCopy;
using Crm.Hosting;
using Crm.Interactions;
using Crm.Interactions.Consumers;
using Crm.Interactions.Features;

var builder = WebApplication.CreateBuilder(args);
builder.AddCrmServiceWithCustomers<InteractionsDb>("interactions", bus => bus.Consume<KeepTimeline>("timeline"));
builder.AddTimelineProjection();
builder.Services.AddValidation();

var app = builder.Build();
app.UseCrmService();
app.MapInteractions();
app.MapGrpcService<InteractionsGrpc>();
app.MapCustomerCopy();
return await app.RunCrmServiceAsync(args);

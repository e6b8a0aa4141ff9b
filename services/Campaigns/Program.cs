using Crm.Campaigns;
using Crm.Campaigns.Consumers;
using Crm.Campaigns.Features;
using Crm.Campaigns.Features.Sending;
using Crm.CustomerCopy;
using Crm.Hosting;

var builder = WebApplication.CreateBuilder(args);
builder.AddCrmServiceWithCustomers<CampaignsDb>("campaigns", bus =>
{
    bus.Consume<KeepCustomerFacts>("customer-facts");
    bus.Consume<AskForConfirmations>("consent-mails");
});
builder.Services.AddValidation();
builder.Services.AddSending();

var app = builder.Build();
app.UseCrmService();
app.MapCampaigns();
app.MapLinks();
app.MapGrpcService<CampaignsGrpc>();
app.MapCustomerCopy();
return await app.RunCrmServiceAsync(args);

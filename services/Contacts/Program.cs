using Crm.Contacts;
using Crm.Contacts.Consumers;
using Crm.Contacts.Features;
using Crm.Hosting;

var builder = WebApplication.CreateBuilder(args);
builder.AddCrmService<ContactsDb>("contacts", bus => bus.Consume<EnterConsentStatements>("consent-statements"));
builder.Services.AddValidation();

var app = builder.Build();
app.UseCrmService();
app.MapContacts();
app.MapGrpcService<ContactsGrpc>();
return await app.RunCrmServiceAsync(args);

using Crm.Contacts;
using Crm.Contacts.Features;
using Crm.Hosting;

var builder = WebApplication.CreateBuilder(args);
builder.AddCrmService<ContactsDb>("contacts");
builder.Services.AddValidation();

var app = builder.Build();
app.UseCrmService();
app.MapContacts();
app.MapGrpcService<ContactsGrpc>();
return await app.RunCrmServiceAsync(args);

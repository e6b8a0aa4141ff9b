using Crm.Contacts;
using Crm.Contacts.Consumers;
using Crm.Contacts.Features;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.Duplicates;
using Crm.Contacts.Features.Erasures;
using Crm.Contacts.Features.Exports;
using Crm.Contacts.Features.Imports;
using Crm.Contacts.Features.Lifecycles;
using Crm.Contacts.Features.Merges;
using Crm.Contacts.Features.RecycleBin;
using Crm.Contacts.Features.Retention;
using Crm.Contacts.Features.Tags;
using Crm.Hosting;

var builder = WebApplication.CreateBuilder(args);
builder.AddCrmService<ContactsDb>("contacts", bus =>
{
    bus.Consume<EnterConsentStatements>("consent-statements");
    bus.Consume<CollectMergeReceipts>("merge-receipts");
    bus.Consume<FollowOrders>("orders");
    bus.Consume<CollectErasureReceipts>("erasure-receipts");
});
builder.AddMerges();
builder.AddDuplicates();
builder.AddCustomFields();
builder.AddLifecycle();
builder.AddErasures();
builder.AddRecycleBin();
builder.AddRetention();
builder.Services.AddHostedService<RetagCustomers>();
ExportWorker.Add(builder);
builder.Services.AddScoped<ReplayChange>();
builder.Services.AddValidation();
builder.Services.AddScoped<ImportBatch>();
builder.Services.AddSingleton<RowOwners>();
builder.Services.AddSingleton<ImportAhead>();
builder.Services.AddSingleton<ImportSignal>();
builder.Services.AddHostedService<ImportWorker>();

var app = builder.Build();
app.UseCrmService();
app.UseAttributeGroups();
app.MapContacts();
app.MapGrpcService<ContactsGrpc>();
return await app.RunCrmServiceAsync(args);

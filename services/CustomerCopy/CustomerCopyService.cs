using Crm.Contracts.Contacts.V1;
using Crm.CustomerCopy.Projections;
using Crm.Hosting;
using Crm.Hosting.Data;
using Crm.Hosting.Messaging;
using Crm.Hosting.Rpc;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Crm.CustomerCopy;

public static class CustomerCopyService
{
    /// <summary>A service that keeps a copy of customers: <see cref="CrmService.AddCrmService"/> and what feeds the copy.</summary>
    public static void AddCrmServiceWithCustomers<TDb>(this WebApplicationBuilder builder, string service, Action<BusConsumers>? consumers = null) where TDb : CustomerCopyDb
    {
        // First: a service's own migrations may add indexes to the copy.
        builder.Services.AddSingleton(new MigrationModule("customer-copy", typeof(CustomerCopyService).Assembly));
        builder.AddCrmService<TDb>(service, bus =>
        {
            bus.Consume<KeepCustomerCopy>("customer-copy");
            bus.Consume<KeepImportedCustomers>("customer-imports");
            consumers?.Invoke(bus);
        });
        builder.Services.AddScoped<CustomerCopyDb>(provider => provider.GetRequiredService<TDb>());
        builder.Services.AddScoped<CustomerDirectory>();
        builder.Services.AddHostedService<FillCustomerCopy>();
        builder.Services.AddSettings<RebuildOptions>("Rebuilds");
        builder.Services.AddHostedService<RebuildWorker>();
        builder.AddProjection("customer-copy", provider =>
        {
            var (db, contacts, clock) = (provider.GetRequiredService<CustomerCopyDb>(), provider.GetRequiredService<Contacts.ContactsClient>(), provider.GetRequiredService<TimeProvider>());
            return [new TiersSource(db, contacts), new GrantsSource(db, contacts, clock), new CustomersSource(db, contacts, clock)];
        });
        builder.AddCrmGrpcClient<Contacts.ContactsClient>("Contacts", "crm.contacts.v1.Contacts", "GetCustomer", "ResolveCustomer", "ListTiers", "StreamGrants", "ListAttributeGroups", "AskConsents");
    }

    /// <summary>A projection that can be rebuilt; the catalogue has it and its sources.</summary>
    public static void AddProjection(this IHostApplicationBuilder builder, string name, Func<IServiceProvider, IReadOnlyList<ProjectionSource>> sources) =>
        builder.Services.AddSingleton(new ServiceProjection(name, sources));

    /// <summary>What the other side of <see cref="AddCrmServiceWithCustomers"/> serves over gRPC.</summary>
    public static void MapCustomerCopy(this WebApplication app)
    {
        app.MapGrpcService<MergesGrpc>();
        app.MapGrpcService<PersonalDataGrpc>();
        app.MapGrpcService<RebuildsGrpc>();
    }
}

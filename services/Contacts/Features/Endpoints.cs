using Crm.Contacts.Features.History;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;

namespace Crm.Contacts.Features;

/// <summary>What Contacts can do, over HTTP.</summary>
internal static class Endpoints
{
    public static void MapContacts(this IEndpointRouteBuilder app)
    {
        var customers = app.MapGroup("/v1/customers").WithTags("customers");
        customers.MapPost("/", CreateCustomer.Handle).RequireScope(Scopes.CustomersWrite).WithName("createCustomer").Produces<CustomerView>(StatusCodes.Status201Created).WithQuery("allow_duplicate", "reason");
        customers.MapGet("/", ListCustomers.Handle).RequireScope(Scopes.CustomersRead).WithName("listCustomers").WithQuery(ListCustomers.Parameters);
        customers.MapGet("/{id}", ReadCustomer.Handle).RequireScope(Scopes.CustomersRead).WithName("readCustomer").Produces<CustomerView>();
        customers.MapPatch("/{id}", PatchCustomer.Handle).RequireScope(Scopes.CustomersWrite).WithName("patchCustomer")
            .Accepts<Domain.CustomerInput>("application/merge-patch+json", "application/json").Produces<CustomerView>();
        customers.MapPut("/by-external-id/{source}/{externalId}", UpsertCustomer.Handle).RequireScope(Scopes.CustomersWrite).WithName("upsertCustomer")
            .Accepts<Domain.CustomerInput>("application/json", "application/merge-patch+json").Produces<CustomerView>().Produces<CustomerView>(StatusCodes.Status201Created).WithQuery("match_on");
        customers.MapGet("/by-external-id/{source}/{externalId}", ReadCustomer.HandleByExternalId).RequireScope(Scopes.CustomersRead).WithName("readCustomerByExternalId").Produces<CustomerView>();

        var history = customers.MapGroup("/{id}/history").WithTags("history");
        history.MapGet("/", ReadHistory.Handle).RequireScope(Scopes.CustomersRead).WithName("readHistory").WithQuery([.. PageRequest.Parameters, "field"]);
        history.MapPost("/{entry}/restore", RestoreFields.Handle).RequireScope(Scopes.CustomersWrite).WithName("restoreFields").Produces<CustomerView>();

        var consents = customers.MapGroup("/{id}/consents").WithTags("consents");
        consents.MapPost("/", RecordConsent.Handle).RequireScope(Scopes.ConsentsWrite).WithName("recordConsent");
        consents.MapGet("/", ReadConsents.Handle).RequireScope(Scopes.ConsentsRead).WithName("readConsents").WithQuery(PageRequest.Parameters);
    }
}

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
        customers.MapPost("/", CreateCustomer.Handle).RequireScope(Scopes.CustomersWrite).WithName("createCustomer").WithQuery("allow_duplicate", "reason");
        customers.MapGet("/", ListCustomers.Handle).RequireScope(Scopes.CustomersRead).WithName("listCustomers").WithQuery(ListCustomers.Parameters);
        customers.MapGet("/{id}", ReadCustomer.Handle).RequireScope(Scopes.CustomersRead).WithName("readCustomer");
        customers.MapPatch("/{id}", PatchCustomer.Handle).RequireScope(Scopes.CustomersWrite).WithName("patchCustomer");
        customers.MapPut("/by-external-id/{source}/{externalId}", UpsertCustomer.Handle).RequireScope(Scopes.CustomersWrite).WithName("upsertCustomer").WithQuery("match_on");
        customers.MapGet("/by-external-id/{source}/{externalId}", ReadCustomer.HandleByExternalId).RequireScope(Scopes.CustomersRead).WithName("readCustomerByExternalId");

        var consents = customers.MapGroup("/{id}/consents").WithTags("consents");
        consents.MapPost("/", RecordConsent.Handle).RequireScope(Scopes.ConsentsWrite).WithName("recordConsent");
        consents.MapGet("/", ReadConsents.Handle).RequireScope(Scopes.ConsentsRead).WithName("readConsents");
    }
}

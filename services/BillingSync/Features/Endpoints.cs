using Crm.BillingSync.Features.Accounts;
using Crm.BillingSync.Features.Invoices;
using Crm.BillingSync.Features.Orders;
using Crm.BillingSync.Features.Payments;
using Crm.BillingSync.Features.Products;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Features;

/// <summary>What BillingSync can do, over HTTP.</summary>
internal static class Endpoints
{
    private const string ByExternalId = "/by-external-id/{source}/{externalId}";

    public static void MapBillingSync(this IEndpointRouteBuilder app)
    {
        var products = app.MapGroup("/v1/products").WithTags("products");
        products.MapPut(ByExternalId, UpsertProduct.Handle).RequireScope(Scopes.BillingWrite).WithName("upsertProduct").ProducesUpserted<ProductView>();
        products.MapGet(ByExternalId, ReadProduct.HandleByExternalId).RequireScope(Scopes.BillingRead).WithName("readProductByExternalId").Produces<ProductView>();
        products.MapGet("/{id}", ReadProduct.Handle).RequireScope(Scopes.BillingRead).WithName("readProduct").Produces<ProductView>();
        products.MapGet("/", ListProducts.Handle).RequireScope(Scopes.BillingRead).WithName("listProducts").WithQuery(ListProducts.Parameters);

        var orders = app.MapGroup("/v1/orders").WithTags("orders");
        orders.MapPut(ByExternalId, UpsertOrder.Handle).RequireScope(Scopes.BillingWrite).WithName("upsertOrder").ProducesUpserted<OrderView>();
        orders.MapGet(ByExternalId, ReadOrder.HandleByExternalId).RequireScope(Scopes.BillingRead).WithName("readOrderByExternalId").Produces<OrderView>();
        orders.MapPost("/", CreateOrder.Handle).RequireScope(Scopes.BillingWrite).WithName("createOrder").Produces<OrderView>(StatusCodes.Status201Created);
        orders.MapGet("/{id}", ReadOrder.Handle).RequireScope(Scopes.BillingRead).WithName("readOrder").Produces<OrderView>();
        orders.MapGet("/", ListOrders.Handle).RequireScope(Scopes.BillingRead).WithName("listOrders").WithQuery(ListOrders.Parameters);

        var invoices = app.MapGroup("/v1/invoices").WithTags("invoices");
        invoices.MapPut(ByExternalId, UpsertInvoice.Handle).RequireScope(Scopes.BillingWrite).WithName("upsertInvoice").ProducesUpserted<InvoiceView>();
        invoices.MapGet(ByExternalId, ReadInvoice.HandleByExternalId).RequireScope(Scopes.BillingRead).WithName("readInvoiceByExternalId").Produces<InvoiceView>();
        invoices.MapPost("/", CreateInvoice.Handle).RequireScope(Scopes.BillingWrite).WithName("createInvoice").Produces<InvoiceView>(StatusCodes.Status201Created);
        invoices.MapGet("/{id}", ReadInvoice.Handle).RequireScope(Scopes.BillingRead).WithName("readInvoice").Produces<InvoiceView>();
        invoices.MapGet("/", ListInvoices.Handle).RequireScope(Scopes.BillingRead).WithName("listInvoices").WithQuery(ListInvoices.Parameters);

        var payments = app.MapGroup("/v1/payments").WithTags("payments");
        payments.MapPut(ByExternalId, UpsertPayment.Handle).RequireScope(Scopes.BillingWrite).WithName("upsertPayment").ProducesUpserted<PaymentView>();
        payments.MapGet(ByExternalId, ReadPayment.HandleByExternalId).RequireScope(Scopes.BillingRead).WithName("readPaymentByExternalId").Produces<PaymentView>();
        payments.MapPost("/", CreatePayment.Handle).RequireScope(Scopes.BillingWrite).WithName("createPayment").Produces<PaymentView>(StatusCodes.Status201Created);
        payments.MapGet("/{id}", ReadPayment.Handle).RequireScope(Scopes.BillingRead).WithName("readPayment").Produces<PaymentView>();
        payments.MapGet("/", ListPayments.Handle).RequireScope(Scopes.BillingRead).WithName("listPayments").WithQuery(ListPayments.Parameters);

        var accounts = app.MapGroup("/v1/customers/{id}/billing-accounts").WithTags("account");
        accounts.MapPut("/{source}", UpsertBillingAccount.Handle).RequireScope(Scopes.BillingWrite).WithName("upsertBillingAccount").ProducesUpserted<BillingAccountView>();
        accounts.MapGet("/", ListBillingAccounts.Handle).RequireScope(Scopes.BillingRead).WithName("listBillingAccounts");
        app.MapGet("/v1/customers/{id}/account", ReadAccount.Handle).RequireScope(Scopes.BillingRead).WithName("readAccount").WithTags("account");
    }

    private static void ProducesUpserted<T>(this RouteHandlerBuilder endpoint) =>
        endpoint.Produces<T>().Produces<T>(StatusCodes.Status201Created);
}

using Crm.Contacts.Features.AccountManagers;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.Duplicates;
using System.Text.Json;
using Crm.Contacts.Features.Erasures;
using Crm.Contacts.Features.Exports;
using Crm.Contacts.Features.Grants;
using Crm.Contacts.Features.History;
using Crm.Contacts.Features.Imports;
using Crm.Contacts.Features.Lifecycles;
using Crm.Contacts.Features.Merges;
using Crm.Contacts.Features.RecycleBin;
using Crm.Contacts.Features.Relationships;
using Crm.Contacts.Features.Reports;
using Crm.Contacts.Features.Retention;
using Crm.Contacts.Features.Tags;
using Crm.Contacts.Features.Tiers;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Mvc;

namespace Crm.Contacts.Features;

/// <summary>What Contacts can do, over HTTP.</summary>
internal static class Endpoints
{
    public static void MapContacts(this IEndpointRouteBuilder app)
    {
        var customers = app.MapGroup("/v1/customers").WithTags("customers");
        customers.MapPost("/", CreateCustomer.Handle).RequireScope(Scopes.CustomersWrite).WithName("createCustomer").Produces<CustomerView>(StatusCodes.Status201Created).WithQuery("allow_duplicate", "reason").WithFlag("allow_duplicate");
        customers.MapGet("/", ListCustomers.Handle).RequireScope(Scopes.CustomersRead).WithName("listCustomers").WithQuery(ListCustomers.Parameters);
        customers.MapGet("/{id}", ReadCustomer.Handle).RequireScope(Scopes.CustomersRead).WithName("readCustomer").Produces<CustomerView>();
        customers.MapPatch("/{id}", PatchCustomer.Handle).RequireScope(Scopes.CustomersWrite).WithName("patchCustomer").RequireIfMatch()
            .Accepts<Domain.CustomerInput>("application/merge-patch+json", "application/json").Produces<CustomerView>().Produces<ChangeRequestView>(StatusCodes.Status202Accepted);
        customers.MapDelete("/{id}", DeleteCustomer.Handle).RequireScope(Scopes.CustomersWrite).WithName("deleteCustomer").RequireIfMatch().WithTags("recycle-bin").Produces(StatusCodes.Status204NoContent).Produces<ChangeRequestView>(StatusCodes.Status202Accepted);
        customers.MapPut("/by-external-id/{source}/{externalId}", UpsertCustomer.Handle).RequireScope(Scopes.CustomersWrite).WithName("upsertCustomer")
            .Accepts<Domain.CustomerInput>("application/json", "application/merge-patch+json").Produces<CustomerView>().Produces<CustomerView>(StatusCodes.Status201Created).Produces<ChangeRequestView>(StatusCodes.Status202Accepted).WithQuery("match_on");
        customers.MapPut("/by-attribute", UpsertByAttribute.Handle).RequireScope(Scopes.CustomersWrite).WithName("upsertCustomerByAttribute")
            .Accepts<Domain.CustomerInput>("application/json", "application/merge-patch+json").Produces<CustomerView>().Produces<CustomerView>(StatusCodes.Status201Created).Produces<ChangeRequestView>(StatusCodes.Status202Accepted).WithQuery("name");
        customers.MapGet("/by-external-id/{source}/{externalId}", ReadCustomer.HandleByExternalId).RequireScope(Scopes.CustomersRead).WithName("readCustomerByExternalId").Produces<CustomerView>();

        var tiers = app.MapGroup("/v1/tiers").WithTags("tiers");
        tiers.MapGet("/", ReadTiers.List).RequireScope(Scopes.CustomersRead).WithName("listTiers");
        tiers.MapGet("/{name}", ReadTiers.One).RequireScope(Scopes.CustomersRead).WithName("readTier").Produces<TierView>();
        tiers.MapPut("/{name}", PutTier.Handle).RequireScope(Scopes.TiersWrite).WithName("putTier").RequireIfMatch(ofExisting: true).Produces<TierView>().Produces<TierView>(StatusCodes.Status201Created);

        customers.MapPut("/{id}/tags/{tag}", TagCustomer.Add).RequireScope(Scopes.CustomersWrite).WithName("addCustomerTag").WithTags("tags").Produces<CustomerView>().Produces<ChangeRequestView>(StatusCodes.Status202Accepted);
        customers.MapDelete("/{id}/tags/{tag}", TagCustomer.Remove).RequireScope(Scopes.CustomersWrite).WithName("removeCustomerTag").WithTags("tags").Produces<CustomerView>().Produces<ChangeRequestView>(StatusCodes.Status202Accepted);
        var tags = app.MapGroup("/v1/tags").WithTags("tags");
        tags.MapGet("/", ReadTags.List).RequireScope(Scopes.CustomersRead).WithName("listTags").WithQuery(PageRequest.Parameters);
        tags.MapGet("/{name}", ReadTags.One).RequireScope(Scopes.CustomersRead).WithName("readTag");
        tags.MapPost("/", DescribeTag.Handle).RequireScope(Scopes.TagsWrite).WithName("describeTag").Produces<TagView>().Produces<TagView>(StatusCodes.Status201Created);
        tags.MapPatch("/{name}", ChangeTag.Patch).RequireScope(Scopes.TagsWrite).WithName("patchTag").RequireIfMatch().Accepts<Domain.TagInput>("application/merge-patch+json", "application/json");
        tags.MapDelete("/{name}", ChangeTag.Delete).RequireScope(Scopes.TagsWrite).WithName("deleteTag").RequireIfMatch().WithQuery(ChangeTag.DeleteParameters);

        var bin = app.MapGroup("/v1/recycle-bin").WithTags("recycle-bin");
        bin.MapGet("/", ReadRecycleBin.List).RequireScope(Scopes.CustomersRead).WithName("listRecycleBin").WithQuery(ReadRecycleBin.Parameters);
        bin.MapGet("/{id}", ReadRecycleBin.One).RequireScope(Scopes.CustomersRead).WithName("readDeletedCustomer").Produces<BinnedCustomerView>();
        bin.MapPost("/{id}/restore", RestoreCustomer.Handle).RequireScope(Scopes.CustomersWrite).WithName("restoreCustomer").Produces<CustomerView>();

        var fields = app.MapGroup("/v1/custom-fields").WithTags("custom-fields");
        fields.MapPost("/", CreateCustomField.Handle).RequireScope(Scopes.CustomFieldsWrite).WithName("createCustomField");
        fields.MapGet("/", ReadCustomFields.List).RequireScope(Scopes.CustomersRead).WithName("listCustomFields").WithQuery(PageRequest.Parameters);
        fields.MapGet("/schema", ReadSchema.Handle).RequireScope(Scopes.CustomersRead).WithName("readAttributesSchema").Produces<JsonElement>(StatusCodes.Status200OK, "application/schema+json").WithQuery(ReadSchema.Parameters);
        fields.MapGet("/{id}", ReadCustomFields.One).RequireScope(Scopes.CustomersRead).WithName("readCustomField");
        fields.MapPatch("/{id}", ChangeCustomField.Patch).RequireScope(Scopes.CustomFieldsWrite).WithName("patchCustomField").RequireIfMatch()
            .Accepts<Domain.CustomFields.CustomFieldInput>("application/merge-patch+json", "application/json");
        fields.MapDelete("/{id}", ChangeCustomField.Archive).RequireScope(Scopes.CustomFieldsWrite).WithName("archiveCustomField").RequireIfMatch();

        var history = customers.MapGroup("/{id}/history").WithTags("history");
        history.MapGet("/", ReadHistory.Handle).RequireScope(Scopes.CustomersRead).WithName("readHistory").WithQuery([.. PageRequest.Parameters, "field"]);
        history.MapPost("/{entry}/restore", RestoreFields.Handle).RequireScope(Scopes.CustomersWrite).WithName("restoreFields").RequireIfMatch().Produces<CustomerView>().Produces<ChangeRequestView>(StatusCodes.Status202Accepted);

        var requests = app.MapGroup("/v1/change-requests").WithTags("change-requests");
        requests.MapGet("/", ReadChangeRequests.List).RequireScope(Scopes.CustomersRead).WithName("listChangeRequests").WithQuery(ReadChangeRequests.Parameters);
        requests.MapGet("/{id}", ReadChangeRequests.One).RequireScope(Scopes.CustomersRead).WithName("readChangeRequest");
        requests.MapPost("/{id}/approve", DecideChangeRequest.Approve).RequireScope(Scopes.CustomersWrite).WithName("approveChangeRequest");
        requests.MapPost("/{id}/reject", DecideChangeRequest.Reject).RequireScope(Scopes.CustomersWrite).WithName("rejectChangeRequest");
        requests.MapPost("/{id}/withdraw", DecideChangeRequest.Withdraw).RequireScope(Scopes.CustomersWrite).WithName("withdrawChangeRequest");

        var grants = app.MapGroup("/v1/grants").WithTags("grants");
        grants.MapPost("/", MakeGrant.Handle).RequireScope(Scopes.GrantsWrite).WithName("createGrant");
        grants.MapGet("/", ReadGrants.List).RequireScope(Scopes.GrantsRead).WithName("listGrants").WithQuery(ReadGrants.Parameters);
        grants.MapGet("/{id}", ReadGrants.One).RequireScope(Scopes.GrantsRead).WithName("readGrant");
        grants.MapDelete("/{id}", RevokeGrant.Handle).RequireScope(Scopes.GrantsWrite).WithName("revokeGrant");

        customers.MapGet("/{id}/lifecycle", ReadLifecycle.Handle).RequireScope(Scopes.CustomersRead).WithName("readLifecycle").WithTags("lifecycle").WithQuery(PageRequest.Parameters);

        customers.MapPost("/{id}/relationships", CreateRelationship.Handle).RequireScope(Scopes.CustomersWrite).WithName("createRelationship").WithTags("relationships")
            .Produces<RelationshipView>(StatusCodes.Status201Created).Produces<ChangeRequestView>(StatusCodes.Status202Accepted);
        customers.MapGet("/{id}/relationships", ReadNetwork.Handle).RequireScope(Scopes.CustomersRead).WithName("readNetwork").WithTags("relationships").WithQuery(ReadNetwork.Parameters);
        customers.MapGet("/{id}/hierarchy", ReadHierarchy.Handle).RequireScope(Scopes.CustomersRead).WithName("readHierarchy").WithTags("relationships").WithQuery(ReadHierarchy.Parameters);
        var relationships = app.MapGroup("/v1/relationships").WithTags("relationships");
        relationships.MapGet("/", ListRelationships.Handle).RequireScope(Scopes.CustomersRead).WithName("listRelationships").WithQuery(ListRelationships.Parameters);
        relationships.MapGet("/{id}", ChangeRelationship.Read).RequireScope(Scopes.CustomersRead).WithName("readRelationship").Produces<RelationshipView>();
        relationships.MapPatch("/{id}", ChangeRelationship.Patch).RequireScope(Scopes.CustomersWrite).WithName("patchRelationship").RequireIfMatch()
            .Accepts<Domain.RelationshipTerms>("application/merge-patch+json", "application/json").Produces<RelationshipView>().Produces<ChangeRequestView>(StatusCodes.Status202Accepted);
        relationships.MapDelete("/{id}", ChangeRelationship.Delete).RequireScope(Scopes.CustomersWrite).WithName("deleteRelationship").RequireIfMatch().Produces(StatusCodes.Status204NoContent).Produces<ChangeRequestView>(StatusCodes.Status202Accepted);

        customers.MapPut("/{id}/account-manager", AssignAccountManager.Handle).RequireScope(Scopes.CustomersWrite).WithName("assignAccountManager").WithTags("account-managers")
            .Produces<AssignAccountManager.Response>().Produces<ChangeRequestView>(StatusCodes.Status202Accepted);
        customers.MapGet("/{id}/account-managers", ListAccountManagers.OfCustomer).RequireScope(Scopes.CustomersRead).WithName("listAccountManagers").WithTags("account-managers").WithQuery(PageRequest.Parameters);
        customers.MapGet("/{id}/account-managers/{assignment}/transactions", ReadTransactions.OfAssignment).RequireScope(Scopes.BillingRead).WithName("readAssignmentTransactions").WithTags("account-managers")
            .WithQuery(ReadTransactions.Parameters);
        app.MapGet("/v1/account-managers/{employee}/transactions", ReadTransactions.OfManager).RequireScope(Scopes.BillingRead).WithName("readManagerTransactions").WithTags("account-managers")
            .WithQuery(ReadTransactions.ManagerParameters);
        app.MapGet("/v1/book-of-business", ListAccountManagers.Book).RequireScope(Scopes.CustomersRead).WithName("readBookOfBusiness").WithTags("account-managers").WithQuery(ListAccountManagers.BookParameters);
        app.MapPost("/v1/book-of-business/reassign", ReassignAccounts.Handle).RequireScope(Scopes.CustomersWrite).WithName("reassignAccounts").WithTags("account-managers");

        var consents = customers.MapGroup("/{id}/consents").WithTags("consents");
        consents.MapPost("/", RecordConsent.Handle).RequireScope(Scopes.ConsentsWrite).WithName("recordConsent");
        consents.MapGet("/", ReadConsents.Handle).RequireScope(Scopes.ConsentsRead).WithName("readConsents").WithQuery(PageRequest.Parameters);

        var imports = app.MapGroup("/v1/imports").WithTags("imports");
        imports.MapPost("/", ReceiveImport.Handle).RequireScope(Scopes.ImportsWrite).WithName("createImport").WithQuery(ReceiveImport.Parameters)
            .Accepts<string>("text/csv", "application/x-ndjson", "application/jsonl", ReceivedWorkbook.ContentType).WithMetadata(new RequestSizeLimitAttribute(ReceiveImport.LargestBody));
        imports.MapGet("/", ReadImports.List).RequireScope(Scopes.ImportsRead).WithName("listImports").WithQuery(PageRequest.Parameters);
        imports.MapGet("/{id}", ReadImports.One).RequireScope(Scopes.ImportsRead).WithName("readImport");
        imports.MapGet("/{id}/results", ReadImports.Results).RequireScope(Scopes.ImportsRead).WithName("listImportResults").WithQuery(ReadImports.ResultParameters);
        imports.MapGet("/{id}/problems.csv", ReadImportProblems.Handle).RequireScope(Scopes.ImportsRead).WithName("readImportProblems").Produces<string>(StatusCodes.Status200OK, "text/csv");
        imports.MapPost("/{id}/undo", UndoImport.Handle).RequireScope(Scopes.ImportsWrite).WithName("undoImport");

        var mappings = app.MapGroup("/v1/import-mappings").WithTags("imports");
        mappings.MapGet("/", ImportMappings.List).RequireScope(Scopes.ImportsRead).WithName("listImportMappings");
        mappings.MapGet("/{name}", ImportMappings.One).RequireScope(Scopes.ImportsRead).WithName("readImportMapping").Produces<ImportMappings.MappingView>();
        mappings.MapPut("/{name}", ImportMappings.Put).RequireScope(Scopes.ImportsWrite).WithName("putImportMapping");
        mappings.MapDelete("/{name}", ImportMappings.Delete).RequireScope(Scopes.ImportsWrite).WithName("deleteImportMapping");

        var scans = app.MapGroup("/v1/duplicate-scans").WithTags("duplicates");
        scans.MapPost("/", ScanDuplicates.Handle).RequireScope(Scopes.MergesWrite).WithName("scanDuplicates");
        scans.MapGet("/", ScanDuplicates.List).RequireScope(Scopes.MergesRead).WithName("listDuplicateScans").WithQuery(PageRequest.Parameters);
        scans.MapGet("/{id}", ScanDuplicates.Read).RequireScope(Scopes.MergesRead).WithName("readDuplicateScan");

        var duplicates = app.MapGroup("/v1/duplicates").WithTags("duplicates");
        duplicates.MapGet("/", ReviewDuplicates.List).RequireScope(Scopes.MergesRead).WithName("listDuplicates").WithQuery(ReviewDuplicates.Parameters);
        duplicates.MapGet("/{id}", ReviewDuplicates.Read).RequireScope(Scopes.MergesRead).WithName("readDuplicate");
        duplicates.MapPost("/{id}/accept", ReviewDuplicates.Accept).RequireScope(Scopes.MergesWrite).WithName("acceptDuplicate").Produces<MergeView>(StatusCodes.Status202Accepted);
        duplicates.MapPost("/{id}/reject", ReviewDuplicates.Reject).RequireScope(Scopes.MergesWrite).WithName("rejectDuplicate");
        duplicates.MapPost("/{id}/ignore", ReviewDuplicates.Ignore).RequireScope(Scopes.MergesWrite).WithName("ignoreDuplicate");

        var blocked = app.MapGroup("/v1/blocked-identifiers").WithTags("duplicates");
        blocked.MapPost("/", BlockIdentifiers.Handle).RequireScope(Scopes.MergesWrite).WithName("blockIdentifier");
        blocked.MapGet("/", BlockIdentifiers.List).RequireScope(Scopes.MergesRead).WithName("listBlockedIdentifiers").WithQuery(PageRequest.Parameters);
        blocked.MapGet("/{id}", BlockIdentifiers.Read).RequireScope(Scopes.MergesRead).WithName("readBlockedIdentifier");
        blocked.MapDelete("/{id}", BlockIdentifiers.Delete).RequireScope(Scopes.MergesWrite).WithName("unblockIdentifier");
        app.MapGet("/v1/reports/acquisition-sources", ReportAcquisitionSources.Handle).RequireScope(Scopes.CustomersRead).WithName("reportAcquisitionSources").WithTags("reports")
            .WithQuery(ReportAcquisitionSources.Parameters);

        app.MapPost("/v1/merge-previews", PreviewMerge.Handle).RequireScope(Scopes.MergesWrite).WithName("previewMerge").WithTags("merges");
        var merges = app.MapGroup("/v1/merges").WithTags("merges");
        merges.MapPost("/", MergeCustomers.Handle).RequireScope(Scopes.MergesWrite).WithName("mergeCustomers").Produces<MergeView>(StatusCodes.Status202Accepted);
        merges.MapGet("/", ReadMerges.HandleList).RequireScope(Scopes.MergesRead).WithName("listMerges").WithQuery(ReadMerges.Parameters);
        merges.MapGet("/{id}", ReadMerges.Handle).RequireScope(Scopes.MergesRead).WithName("readMerge");
        merges.MapPost("/{id}/undo", UndoMerge.Handle).RequireScope(Scopes.MergesWrite).WithName("undoMerge").Produces<MergeView>(StatusCodes.Status202Accepted);

        customers.MapPost("/{id}/erasures", EraseCustomer.Handle).RequireScope(Scopes.ErasuresWrite).WithName("eraseCustomer").RequireIfMatch().WithTags("erasures");
        var erasures = app.MapGroup("/v1/erasures").WithTags("erasures");
        erasures.MapGet("/", ReadErasures.HandleList).RequireScope(Scopes.ErasuresRead).WithName("listErasures").WithQuery(ReadErasures.Parameters);
        erasures.MapGet("/{id}", ReadErasures.Handle).RequireScope(Scopes.ErasuresRead).WithName("readErasure");
        var receipts = app.MapGroup("/v1/erasure-receipts").WithTags("erasures");
        receipts.MapPost("/verify", VerifyReceipt.Handle).RequireScope(Scopes.ErasuresRead).WithName("verifyErasureReceipt");
        receipts.MapGet("/keys", VerifyReceipt.HandleKeys).RequireScope(Scopes.ErasuresRead).WithName("readErasureReceiptKeys");

        customers.MapPost("/{id}/exports", ExportCustomer.Handle).RequireScope(Scopes.ExportsWrite).WithName("exportCustomer").WithTags("exports");
        var exports = app.MapGroup("/v1/exports").WithTags("exports");
        exports.MapGet("/{id}", ReadExport.Handle).RequireScope(Scopes.ExportsRead).WithName("readExport");
        exports.MapGet("/{id}/archive", ReadExport.Archive).RequireScope(Scopes.ExportsRead).WithName("readExportArchive").Produces<JsonElement>();

        var holds = customers.MapGroup("/{id}/legal-holds").WithTags("legal-holds");
        holds.MapPost("/", LegalHolds.Set).RequireScope(Scopes.LegalHoldsWrite).WithName("setLegalHold");
        holds.MapGet("/", LegalHolds.List).RequireScope(Scopes.LegalHoldsRead).WithName("listLegalHolds").WithQuery(PageRequest.Parameters);
        holds.MapPost("/{hold}/lift", LegalHolds.Lift).RequireScope(Scopes.LegalHoldsWrite).WithName("liftLegalHold");

        var policies = app.MapGroup("/v1/retention-policies").WithTags("retention");
        policies.MapPost("/", RetentionPolicies.Create).RequireScope(Scopes.RetentionWrite).WithName("createRetentionPolicy");
        policies.MapGet("/", RetentionPolicies.List).RequireScope(Scopes.RetentionRead).WithName("listRetentionPolicies").WithQuery(PageRequest.Parameters);
        policies.MapGet("/{id}", RetentionPolicies.One).RequireScope(Scopes.RetentionRead).WithName("readRetentionPolicy").Produces<RetentionPolicyView>();
        policies.MapPatch("/{id}", RetentionPolicies.Patch).RequireScope(Scopes.RetentionWrite).WithName("patchRetentionPolicy").RequireIfMatch()
            .Accepts<Domain.Retention.RetentionPolicyInput>("application/merge-patch+json", "application/json");
        policies.MapPost("/{id}/runs", RetentionRuns.Ask).RequireScope(Scopes.RetentionWrite).WithName("runRetentionPolicy");
        var runs = app.MapGroup("/v1/retention-runs").WithTags("retention");
        runs.MapGet("/", RetentionRuns.List).RequireScope(Scopes.RetentionRead).WithName("listRetentionRuns").WithQuery(RetentionRuns.Parameters);
        runs.MapGet("/{id}", RetentionRuns.Read).RequireScope(Scopes.RetentionRead).WithName("readRetentionRun");
        runs.MapGet("/{id}/results", RetentionRuns.Results).RequireScope(Scopes.RetentionRead).WithName("listRetentionResults").WithQuery(RetentionRuns.ResultParameters);
    }
}

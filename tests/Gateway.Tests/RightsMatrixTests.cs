using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Crm.Contracts;
using Crm.Testing;

namespace Gateway.Tests;

/// <summary>
/// Every role × operation, and every role × field × representation, as they are meant to be. An operation or a member of
/// an answer that is new must be entered here before anybody relies on it.
/// </summary>
[Collection(WholePlatform.Name)]
public sealed class RightsMatrixTests(PlatformFixture fixture)
{
    private static readonly string[] Roles = ["manager", "sales", "support", "marketing", "accounting", "analyst", "auditor", "partner"];

    /// <summary>x: may be called, -: 403; last, after two blanks, whether a key with a row filter may.</summary>
    private const string Operations = """
        listBillingAccounts               x x x - x x x x  x
        listInvoices                      x x x - x x x x  x
        listOrders                        x x x - x x x x  x
        listPayments                      x x x - x x x x  x
        listProducts                      x x x - x x x x  x
        readAccount                       x x x - x x x x  x
        readInvoice                       x x x - x x x x  x
        readInvoiceByExternalId           x x x - x x x x  x
        readOrder                         x x x - x x x x  x
        readOrderByExternalId             x x x - x x x x  x
        readPayment                       x x x - x x x x  x
        readPaymentByExternalId           x x x - x x x x  x
        readProduct                       x x x - x x x x  x
        readProductByExternalId           x x x - x x x x  x
        createInvoice                     x - - - x - - -  x
        createOrder                       x - - - x - - -  x
        createPayment                     x - - - x - - -  x
        upsertBillingAccount              x - - - x - - -  x
        upsertInvoice                     x - - - x - - -  x
        upsertOrder                       x - - - x - - -  x
        upsertPayment                     x - - - x - - -  x
        upsertProduct                     x - - - x - - -  -
        listCampaignMessages              x x - x - x x -  -
        listCampaigns                     x x - x - x x -  -
        readCampaign                      x x - x - x x -  -
        readCampaignResults               x x - x - x x -  -
        createCampaign                    x - - x - - - -  -
        launchCampaign                    x - - x - - - -  -
        patchCampaign                     x - - x - - - -  -
        listCaseMessages                  x x x - - x x x  x
        listCases                         x x x - - x x x  x
        readCase                          x x x - - x x x  x
        readCaseByExternalId              x x x - - x x x  x
        assignCase                        x - x - - - - x  x
        openCase                          x - x - - - - x  x
        patchCase                         x - x - - - - x  x
        reopenCase                        x - x - - - - x  x
        replyToCase                       x - x - - - - x  x
        solveCase                         x - x - - - - x  x
        upsertCase                        x - x - - - - x  x
        readConsents                      x x x x - - x x  x
        recordConsent                     x x - x - - - -  x
        listCustomers                     x x x x x x x x  x
        readCustomer                      x x x x x x x x  x
        readCustomerByExternalId          x x x x x x x x  x
        readCustomerOverview              x x x x x x x x  x
        readHistory                       x x x x x x x x  x
        createCustomer                    x x x - - - - x  x
        patchCustomer                     x x x - - - - x  x
        restoreFields                     x x x - - - - x  x
        upsertCustomer                    x x x - - - - x  x
        upsertCustomerByAttribute         x x x - - - - x  x
        listCustomFields                  x x x x x x x x  -
        readCustomField                   x x x x x x x x  -
        readAttributesSchema              x x x x x x x x  -
        createCustomField                 x - - - - - - -  -
        patchCustomField                  x - - - - - - -  -
        archiveCustomField                x - - - - - - -  -
        listChangeRequests                x x x x x x x x  x
        readChangeRequest                 x x x x x x x x  x
        approveChangeRequest              x x x - - - - x  -
        rejectChangeRequest               x x x - - - - x  -
        withdrawChangeRequest             x x x - - - - x  x
        listGrants                        x - - - - - x -  -
        readGrant                         x - - - - - x -  -
        createGrant                       x - - - - - - -  -
        revokeGrant                       x - - - - - - -  -
        listImportMappings                x - - - - - x -  -
        listImportResults                 x - - - - - x -  -
        listImports                       x - - - - - x -  -
        readImport                        x - - - - - x -  -
        readImportProblems                x - - - - - x -  -
        readImportMapping                 x - - - - - x -  -
        createImport                      x - - - - - - -  -
        deleteImportMapping               x - - - - - - -  -
        putImportMapping                  x - - - - - - -  -
        undoImport                        x - - - - - - -  -
        listInteractions                  x x x - x x x x  x
        readInteraction                   x x x - x x x x  x
        readInteractionByExternalId       x x x - x x x x  x
        readTimeline                      x x x - x x x x  x
        logInteraction                    x x x - - - - x  x
        patchInteraction                  x x x - - - - x  x
        upsertInteraction                 x x x - - - - x  x
        createKey                         - - - - - - - -  -
        listKeys                          - - - - - - - -  -
        readKey                           - - - - - - - -  -
        patchKey                          - - - - - - - -  -
        revokeKey                         - - - - - - - -  -
        listProjections                   - - - - - - - -  -
        startRebuild                      - - - - - - - -  -
        readRebuild                       - - - - - - - -  -
        listMerges                        x - - - - - x -  -
        readMerge                         x - - - - - x -  -
        listBlockedIdentifiers            x - - - - - x -  -
        blockIdentifier                   x - - - - - - -  -
        readBlockedIdentifier             x - - - - - x -  -
        unblockIdentifier                 x - - - - - - -  -
        listDuplicateScans                x - - - - - x -  -
        scanDuplicates                    x - - - - - - -  -
        readDuplicateScan                 x - - - - - x -  -
        listDuplicates                    x - - - - - x -  -
        readDuplicate                     x - - - - - x -  -
        acceptDuplicate                   x - - - - - - -  -
        rejectDuplicate                   x - - - - - - -  -
        ignoreDuplicate                   x - - - - - - -  -
        readLifecycle                     x x x x x x x x  -
        readHierarchy                     x x x x x x x x  -
        readNetwork                       x x x x x x x x  -
        listRelationships                 x x x x x x x x  -
        readRelationship                  x x x x x x x x  -
        createRelationship                x x x - - - - x  -
        patchRelationship                 x x x - - - - x  -
        deleteRelationship                x x x - - - - x  -
        listAccountManagers               x x x x x x x x  -
        readBookOfBusiness                x x x x x x x x  -
        readAssignmentTransactions        x x x - x x x x  -
        readManagerTransactions           x x x - x x x x  -
        assignAccountManager              x x x - - - - x  -
        reassignAccounts                  x x x - - - - x  -
        reportAcquisitionSources          x x x x x x x x  -
        listTiers                         x x x x x x x x  -
        readTier                          x x x x x x x x  -
        putTier                           x - - - - - - -  -
        listTags                          x x x x x x x x  -
        readTag                           x x x x x x x x  -
        describeTag                       x - - - - - - -  -
        patchTag                          x - - - - - - -  -
        deleteTag                         x - - - - - - -  -
        addCustomerTag                    x x x - - - - x  x
        removeCustomerTag                 x x x - - - - x  x
        deleteCustomer                    x x x - - - - x  -
        listRecycleBin                    x x x x x x x x  -
        readDeletedCustomer               x x x x x x x x  -
        restoreCustomer                   x x x - - - - x  -
        eraseCustomer                     - - - - - - - -  -
        listErasures                      - - - - - - - -  -
        readErasure                       - - - - - - - -  -
        verifyErasureReceipt              - - - - - - - -  -
        readErasureReceiptKeys            - - - - - - - -  -
        setLegalHold                      - - - - - - - -  -
        listLegalHolds                    - - - - - - - -  -
        liftLegalHold                     - - - - - - - -  -
        createRetentionPolicy             - - - - - - - -  -
        listRetentionPolicies             - - - - - - - -  -
        readRetentionPolicy               - - - - - - - -  -
        patchRetentionPolicy              - - - - - - - -  -
        runRetentionPolicy                - - - - - - - -  -
        listRetentionRuns                 - - - - - - - -  -
        readRetentionRun                  - - - - - - - -  -
        listRetentionResults              - - - - - - - -  -
        exportCustomer                    - - - - - - - -  -
        readExport                        - - - - - - - -  -
        readExportArchive                 - - - - - - - -  -
        mergeCustomers                    x - - - - - - -  -
        previewMerge                      x - - - - - - -  -
        undoMerge                         x - - - - - - -  -
        listSegmentMembers                x x - x - x x -  -
        listSegments                      x x - x - x x -  -
        previewSegment                    x x - x - x x -  -
        readSegment                       x x - x - x x -  -
        createSegment                     x - - x - - - -  -
        deleteSegment                     x - - x - - - -  -
        patchSegment                      x - - x - - - -  -
        """;

    /// <summary>A: as it is; M: masked; D: left out; -: 403.</summary>
    private const string Fields = """
        customer            given_name                A A A A A M A A
        customer            display_name              A A A A A M A A
        customer            emails/0/address          A A A M A M A A
        customer            phones/0/number           A A A M A M A A
        customer            addresses/0/lines/0       A A A M A M A A
        customer            addresses/0/postal_code   A A A M A M A A
        customer            birth_date                A D A D D D A D
        customer            attributes/shoe           A A D A D A A D
        customer            tags/0                    A A D A D A A D
        customer            tier                      A A A A A A A A
        list                data/0/emails/0/address   A A A M A M A A
        list                data/0/birth_date         A D A D D D A D
        overview            customer/emails/0/address A A A M A M A A
        overview            customer/phones/0/number  A A A M A M A A
        overview            customer/birth_date       A D A D D D A D
        overview            customer/entitlements     A A A A A A A A
        overview            customer/attributes/shoe  A A D A D A A D
        overview            customer/tags/0           A A D A D A A D
        overview            billing/by_currency       A A D D A A A D
        overview            support/recent/0/subject  A A A D D M A A
        interaction         subject                   A A A - D M A A
        interaction         body                      A A A - D M A A
        interaction         participants/0            A A A - A M A A
        interactions        data/0/body               A A A - D M A A
        timeline            data/0/type               A A A - A A A A
        case                description               A A A - - M A A
        case                messages/0/body           A A A - - M A A
        case                messages/0/author         A A A - - M A A
        case                history/1/detail          A A A - - M A A
        cases               data/0/subject            A A A - - M A A
        order               total/amount_minor        A A D - A A A D
        order               lines/0/unit_price        A A D - A A A D
        order               lines/0/sku               A A A - A A A A
        orders              data/0/total              A A D - A A A D
        invoice             total                     A A D - A A A D
        payment             amount                    A A D - A A A D
        account             by_currency               A A D - A A A D
        account             balance                   A A D - A A A D
        account             orders                    A A A - A A A A
        consents            history/0/ip              A D D A - - A D
        consents            history/0/state           A A A A - - A A
        search              data/0/display_name       A A A A A - A A
        search              data/0/emails/0/address   A A A M A - A A
        history             data/0/changes/1/new      A A A A A M A A
        history             data/0/changes/2/new/0/address A A A M A M A A
        hierarchy           data/0/display_name       A A A A A M A A
        network             customers/1/display_name  A A A A A M A A
        network             relationships/0/to/display_name A A A A A M A A
        recycle_bin         display_name              A A A A A M A A
        recycle_bin         reason                    A A A D D M A A
        recycle_bin         customer/emails/0/address A A A M A M A A
        recycle_bin         customer/birth_date       A D A D D D A D
        candidates          candidates/0/display_name A A A - - - - A
        duplicates          data/0/customers/0/display_name A - - - - - A -
        merge               manifest/fields/given_name/value A - - - - - A -
        merge               manifest/fields/birth_date/value A - - - - - A -
        change_request      changes/0/new/0/address   A A A M A M A A
        import_results      data/0/customer_id        A - - - - - A -
        """;

    /// <summary>Texts and amounts that every role may see: they tell nothing of a person, or only whom something belongs to.</summary>
    private static readonly string[] Free =
    [
        // What things are and where they stand.
        "*.channel", "*.code", "*.currency", "*.kind", "*.lifecycle", "*.priority", "*.purpose", "*.queue", "*.service", "*.state", "*.status", "*.system", "*.tier", "*.type",
        "*.department", "*.locale", "*.time_zone", "*.country", "*.region", "*.merged_from", "*.carried_from", "*.sku", "*.source", "*.token_sha256",
        // Our own people and keys.
        "*.actor", "*.approved_by", "*.assignee", "*.created_by", "*.employee", "*.recorded_by", "*.requested_by", "CreateKeyRequest.*", "CreatedKey.*", "KeyView.*", "RowFilter.*",
        // The API's own.
        "*.next_cursor", "*.token", "Problem.*", "FieldError.*", "ReadProblemsEntry.*",
        // Written as far as the caller may read it (TimelineEntry.SummaryForCaller, HistoryEntry, ManifestFields).
        "*.summary", "FieldChange.*", "HistoryEntry.action", "PreviewMergeManifest.fields", "FieldOrigin.from", "KeptEdit.fields", "NotGivenBack.field", "RestoreFieldsRequest.fields",
        // What the company writes itself.
        "CampaignInput.name", "CampaignView.name", "TemplateInput.*", "OverviewMessage.campaign_name", "Segment*", "PreviewSegmentRequest.as_of", "Product*",
        "OrderLine*.description", "Invoice*.number", "Payment*.method", "Merge*.reason", "UndoMergeRequest.reason", "*Forbidden.reason", "*Unavailable.reason",
        "PreviewMergeRequest.choices", "MergeView.missing", "ReceiptView.counts", "StayedView.counts", "RowCountView.table",
        "*.decided_by", "*.deleted_by", "DeleteCustomerRequest.reason", "RestoreCustomerRequest.reason", "TierView.name", "TierEntitlements.*", "EntitlementsInput.*", "*BlockedIdentifierView.reason", "BlockIdentifiersRequest.reason", "ReviewDuplicates*.reason", "ReviewDuplicates*.choices", "FieldEvidence.level",
        // What an installation calls its fields, never a value.
        "CustomField*", "TagView.*", "TagInput.*",
        // Which department may do what with whose records, and why.
        "Grant*.owner_department", "Grant*.grantee_department", "Grant*.field_group", "Grant*.reason", "Grant*.granted_by", "Grant*.revoked_by",
        // Why a change was not approved.
        "ChangeRequestView.reason", "DecideChangeRequest*.reason",
        // What is to be done: a relationship, an account manager, a merge and why; never a value of a field.
        "ChangeRequestView.request",
        // Who looks after whom, and how customers belong together.
        "AccountManager*.manager", "*Transactions.manager", "AssignAccountManager*.manager", "Reassign*.from", "Reassign*.to", "Relationship*.role", "Relationship*.purchase", "Relationship*.starts_on", "CircleView.starts_on", "Relationship*.ends_on",
        // Erasures, holds and exports: what was counted, who asked and why.
        "Erasure*.erased", "Erasure*.kept", "*.statement", "*.missing", "Export*.counts", "StatementKey.*", "Erase*.reason", "Erasure*.reason", "LegalHold*.reason", "LegalHold*.lift_reason", "*.lifted_by",
        // What a retention policy is called, and why customers are kept: words of a list.
        "RetentionPolicy*.name", "RetentionPolicy*.lifecycles", "RetentionRunView.lifecycles", "RetentionRunView.kept_for", "RetentionResultView.reasons",
        // Projections and how far their rebuilds are.
        "Projection*", "Rebuild*",
        // Imports: how columns are called and what went wrong, never a value.
        "Import*", "ReadImportsResultView.undo_reason",
    ];

    [Fact]
    public async Task Every_role_may_call_what_the_matrix_says_and_an_operation_that_is_not_in_it_fails()
    {
        var matrix = Rows(Operations).ToDictionary(r => r[0], r => r[1..]);
        using var document = JsonDocument.Parse(await File.ReadAllTextAsync(OpenApiTests.DocumentFile));
        var operations = document.RootElement.GetProperty("paths").EnumerateObject()
            .SelectMany(p => p.Value.EnumerateObject().Select(o => (Path: p.Name, Method: o.Name, Operation: o.Value)))
            .Where(o => o.Operation.GetProperty("security").GetArrayLength() > 0)
            .ToDictionary(o => o.Operation.GetProperty("operationId").GetString()!);
        Assert.Equal([], operations.Keys.Except(matrix.Keys, StringComparer.Ordinal));

        for (var i = 0; i < Roles.Length; i++)
        {
            using var caller = await InRoleAsync(Roles[i]);
            foreach (var (id, (path, method, operation)) in operations)
            {
                var code = await CodeAsync(caller, path, method, operation);
                Assert.True((code == "insufficient_scope") == (matrix[id][i] == "-"), $"{Roles[i]} {id}: {code ?? "allowed"}, not {matrix[id][i]}");
            }
        }

        using var partner = await CreateAsync(new { name = "rows", scopes = Scopes.All, row_filter = new { attribute = "distributor", equals = "acme" } });
        foreach (var (id, (path, method, operation)) in operations)
        {
            var code = await CodeAsync(partner, path, method, operation);
            Assert.True((code == "forbidden") == (matrix[id][Roles.Length] == "-"), $"row filter {id}: {code ?? "allowed"}, not {matrix[id][Roles.Length]}");
        }
    }

    [Fact]
    public async Task Every_role_sees_of_every_representation_what_the_matrix_says()
    {
        using var admin = fixture.Platform.CreateClient("admin");
        // The list shows the newest customer, who has all that is looked at.
        var paths = (await FillOrganizationAsync(admin)).Concat(await FillAsync(admin)).ToDictionary();
        var real = new Dictionary<string, JsonNode>();
        foreach (var (name, path) in paths)
        {
            real[name] = (await LookAsync(admin, name, path))!;
        }

        for (var i = 0; i < Roles.Length; i++)
        {
            using var caller = await InRoleAsync(Roles[i]);
            var seen = new Dictionary<string, JsonNode?>();
            foreach (var (name, path) in paths)
            {
                seen[name] = await LookAsync(caller, name, path);
            }

            foreach (var row in Rows(Fields))
            {
                var (expected, found) = (At(real[row[0]], row[1]), seen[row[0]] is { } answer ? At(answer, row[1]) : null);
                Assert.True(expected is not null, $"{row[0]} {row[1]} is not there at all.");
                var got = seen[row[0]] is null ? "-" : found is null ? "D" : JsonNode.DeepEquals(expected, found) ? "A" : $"{found}".Contains("•••", StringComparison.Ordinal) ? "M" : $"{found}";
                Assert.True(got == row[2 + i], $"{Roles[i]} {row[0]} {row[1]}: {got}, not {row[2 + i]}");
            }

            // Nowhere in any of the answers is the address of somebody whose address the role does not see.
            Assert.True(Roles[i] is not ("marketing" or "analyst") || !seen.Values.Any(v => v?.ToJsonString().Contains("ada.matrix@", StringComparison.Ordinal) is true), Roles[i]);
        }

        // Who may be meant by a new customer is told to whoever creates one.
        static Task<JsonNode?> LookAsync(HttpClient caller, string name, string path) => name == "candidates" ? SuspectAsync(caller, path) : ReadAsync(caller, path);
    }

    [Fact]
    public async Task Every_member_of_the_api_has_a_field_group_or_is_declared_free()
    {
        using var document = JsonDocument.Parse(await File.ReadAllTextAsync(OpenApiTests.DocumentFile));
        var schemas = document.RootElement.GetProperty("components").GetProperty("schemas");
        var members = schemas.EnumerateObject()
            .SelectMany(s => s.Value.TryGetProperty("properties", out var properties) ? properties.EnumerateObject().Select(p => (Schema: s, Member: p)) : [])
            .Where(m => m.Member.Name != "id" && !m.Member.Name.EndsWith("_id", StringComparison.Ordinal) && !m.Member.Name.EndsWith("_ids", StringComparison.Ordinal) && MayTell(m.Member.Value))
            .Where(m => !(m.Schema.Value.TryGetProperty("x-field-groups", out var groups) && groups.TryGetProperty(m.Member.Name, out _)))
            .Select(m => $"{m.Schema.Name}.{m.Member.Name}").ToList();
        var patterns = Free.ToDictionary(f => f, f => new Regex($"^{Regex.Escape(f).Replace("\\*", ".*", StringComparison.Ordinal)}$", RegexOptions.None, TimeSpan.FromSeconds(10)));
        Assert.Equal([], members.Where(m => !patterns.Values.Any(p => p.IsMatch(m))));
    }

    /// <summary>Text that is neither a word of a list nor an instant, whatever an object holds, and money.</summary>
    private static bool MayTell(JsonElement schema)
    {
        if (schema.TryGetProperty("$ref", out var reference))
        {
            return reference.GetString()!.Contains("/Money", StringComparison.Ordinal);
        }

        foreach (var choice in (string[])["oneOf", "anyOf", "allOf"])
        {
            if (schema.TryGetProperty(choice, out var several))
            {
                return several.EnumerateArray().Any(MayTell);
            }
        }

        var types = schema.TryGetProperty("type", out var type) ? type.ToString() : "object";
        return types.Contains("string", StringComparison.Ordinal) ? !schema.TryGetProperty("enum", out _) && !(schema.TryGetProperty("format", out var format) && format.GetString() == "date-time")
            : types.Contains("array", StringComparison.Ordinal) ? MayTell(schema.GetProperty("items"))
            : types.Contains("object", StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_key_with_a_row_filter_sees_in_every_service_the_rows_of_its_customers_and_no_others()
    {
        using var admin = fixture.Platform.CreateClient("admin");
        var distributor = $"d-{Guid.NewGuid():n}";
        using var partner = await CreateAsync(new { name = distributor, scopes = Scopes.All.Except([Scopes.KeysAdmin]), row_filter = new { attribute = "distributor", equals = distributor }, requests_per_minute = 100_000 });
        var own = await FillAsync(partner);
        var other = await FillAsync(admin);
        string OwnerIn(JsonNode row) => row["customer_id"]?.GetValue<string>() ?? row["id"]!.GetValue<string>();
        var ownId = own["customer"].Split('/')[^1];
        var otherId = other["customer"].Split('/')[^1];

        foreach (var (name, path) in own)
        {
            var answer = await ReadAsync(partner, path);
            Assert.True(answer is not null, name);
        }

        foreach (var list in (string[])["customers", "interactions", "cases", "orders", "invoices", "payments"])
        {
            var rows = (await ReadAsync(partner, $"v1/{list}?limit=100"))!["data"]!.AsArray();
            Assert.Equal([ownId], rows.Select(r => OwnerIn(r!)).Distinct());
        }

        foreach (var (name, path) in other.Where(o => o.Key != "list"))
        {
            using var answer = await partner.GetAsync(path);
            if (path.Contains("?customer_id=", StringComparison.Ordinal))
            {
                Assert.Empty(JsonNode.Parse(await answer.Content.ReadAsStringAsync())!["data"]!.AsArray());
            }
            else
            {
                Assert.True((int)answer.StatusCode == 404, $"{name}: {(int)answer.StatusCode}");
            }
        }

        foreach (var (path, json) in new[]
        {
            ("v1/interactions", $$"""{"customer_id":"{{otherId}}","channel":"call","direction":"inbound","started_at":"2026-01-02T03:04:05Z"}"""),
            ("v1/cases", $$"""{"customer_id":"{{otherId}}","type":"question","subject":"Where is it"}"""),
            ("v1/payments", $$$"""{"customer_id":"{{{otherId}}}","paid_at":"2026-01-02T03:04:05Z","amount":{"amount_minor":390,"currency":"USD"},"method":"card","status":"succeeded"}"""),
        })
        {
            using var content = new StringContent(json, System.Text.Encoding.UTF8, "application/json");
            await (await partner.PostAsync(path, content)).ProblemAsync(422, "unknown_customer");
        }

        using var solve = new StringContent("""{"resolution":"Done"}""", System.Text.Encoding.UTF8, "application/json");
        await (await partner.PostAsync($"{other["case"]}/solve", solve)).ProblemAsync(404, "not_found");
    }

    private static IEnumerable<string[]> Rows(string table) =>
        table.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(r => r.Split(' ', StringSplitOptions.RemoveEmptyEntries));

    private Task<HttpClient> InRoleAsync(string role) =>
        CreateAsync(new { name = role, roles = (string[])[role], scopes = Policy.Load(null).ScopesOf([role]), requests_per_minute = 100_000 });

    private async Task<HttpClient> CreateAsync(object key)
    {
        using var admin = fixture.Platform.CreateClient("admin");
        var created = await (await admin.PostAsJsonAsync("v1/keys", key)).OkAsync(201);
        var client = fixture.Platform.CreateClient(null);
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", created.GetProperty("key").GetString());
        return client;
    }

    /// <summary>The code of the 403; null when the request was refused for something else, or not at all.</summary>
    private static async Task<string?> CodeAsync(HttpClient caller, string path, string method, JsonElement operation)
    {
        var address = path[1..].Replace("{", "", StringComparison.Ordinal).Replace("}", "", StringComparison.Ordinal);
        using var request = new HttpRequestMessage(HttpMethod.Parse(method), address);
        if (operation.TryGetProperty("requestBody", out var body))
        {
            // Of another type it would be refused before anybody asks who it is.
            request.Content = new StringContent("{}", System.Text.Encoding.UTF8, body.GetProperty("content").EnumerateObject().First().Name);
        }

        using var answer = await caller.SendAsync(request);
        return (int)answer.StatusCode == 403 ? JsonNode.Parse(await answer.Content.ReadAsStringAsync())!["code"]!.GetValue<string>() : null;
    }

    /// <summary>One of everything, and where it is read.</summary>
    private static async Task<Dictionary<string, string>> FillAsync(HttpClient admin)
    {
        Task<string> PostAsync(string path, string json) => RightsMatrixTests.PostAsync(admin, path, json);

        var customer = await PostAsync("v1/customers?allow_duplicate=true&reason=another+one", """
            {"kind":"person","given_name":"Ada","family_name":"Matrix","birth_date":"1815-12-10","emails":[{"address":"ada.matrix@example.com"}],
             "phones":[{"number":"+442079460123"}],"addresses":[{"lines":["12 St James's Sq"],"postal_code":"SW1Y 4JH","country":"GB"}],"attributes":{"shoe":38},"tags":["vip"],"source":{"type":"enquiry"}}
            """);
        await PostAsync($"v1/customers/{customer}/consents", """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form","wording":"Yes","ip":"192.0.2.7"}""");
        var interaction = await PostAsync("v1/interactions", $$"""{"customer_id":"{{customer}}","channel":"call","direction":"inbound","started_at":"2026-01-02T03:04:05Z","subject":"Returns","body":"She wants it back","participants":["ada.matrix@example.com"]}""");
        var it = await PostAsync("v1/cases", $$"""{"customer_id":"{{customer}}","type":"question","subject":"Where is it","description":"She asks where it is"}""");
        await PostAsync($"v1/cases/{it}/messages", """{"direction":"inbound","body":"Where is it?","author":"ada.matrix@example.com"}""");
        var order = await PostAsync("v1/orders", $$$"""{"customer_id":"{{{customer}}}","placed_at":"2026-01-02T03:04:05Z","lines":[{"sku":"CD-1","quantity":2,"unit_price":{"amount_minor":1195,"currency":"USD"}}],"total":{"amount_minor":2390,"currency":"USD"},"status":"completed"}""");
        var invoice = await PostAsync("v1/invoices", $$$"""{"customer_id":"{{{customer}}}","number":"R-17","issued_at":"2026-01-02T03:04:05Z","total":{"amount_minor":2390,"currency":"USD"},"status":"open"}""");
        var payment = await PostAsync("v1/payments", $$$"""{"customer_id":"{{{customer}}}","paid_at":"2026-01-02T03:04:05Z","amount":{"amount_minor":390,"currency":"USD"},"method":"card","status":"succeeded"}""");
        await Crm.Testing.Eventually.GetAsync(
            async () => (await ReadAsync(admin, $"v1/customers/{customer}/timeline"))!["data"]!.AsArray().Count, entries => entries >= 5, TimeSpan.FromSeconds(40));

        return new()
        {
            ["customer"] = $"v1/customers/{customer}",
            ["list"] = "v1/customers?limit=1",
            ["overview"] = $"v1/customers/{customer}/overview",
            ["consents"] = $"v1/customers/{customer}/consents",
            ["interaction"] = $"v1/interactions/{interaction}",
            ["interactions"] = $"v1/interactions?customer_id={customer}",
            ["timeline"] = $"v1/customers/{customer}/timeline?type=order",
            ["case"] = $"v1/cases/{it}",
            ["cases"] = $"v1/cases?customer_id={customer}",
            ["order"] = $"v1/orders/{order}",
            ["orders"] = $"v1/orders?customer_id={customer}",
            ["invoice"] = $"v1/invoices/{invoice}",
            ["payment"] = $"v1/payments/{payment}",
            ["account"] = $"v1/customers/{customer}/account",
        };
    }

    /// <summary>What a key with a row filter does not call, or finds more than its own by.</summary>
    private async Task<Dictionary<string, string>> FillOrganizationAsync(HttpClient admin)
    {
        Task<string> PersonAsync() => PostAsync(admin, "v1/customers?allow_duplicate=true&reason=another+one", """
            {"kind":"person","family_name":"Matrix","birth_date":"1815-12-10","emails":[{"address":"ada.matrix@example.com"}],"source":{"type":"enquiry"}}
            """);

        var name = $"Works{Guid.NewGuid():n}";
        var firm = await PostAsync(admin, "v1/customers?allow_duplicate=true&reason=another+one", $$$"""{"kind":"organization","name":"{{{name}}}","emails":[{"address":"ada.matrix@example.com"}],"source":{"type":"enquiry"}}""");
        await PostAsync(admin, $"v1/customers/{await PersonAsync()}/relationships", $$"""{"type":"role","to_id":"{{firm}}","role":"clerk"}""");
        var gone = await PersonAsync();
        using var content = new StringContent("""{"reason":"She is there twice"}""", System.Text.Encoding.UTF8, "application/json");
        using var delete = new HttpRequestMessage(HttpMethod.Delete, $"v1/customers/{gone}") { Content = content };
        delete.Headers.IfMatch.Add(EntityTagHeaderValue.Any);
        using var deleted = await admin.SendAsync(delete);
        Assert.Equal(204, (int)deleted.StatusCode);

        return new(await FillDecisionsAsync(admin))
        {
            ["search"] = $"v1/customers?q={name}",
            ["history"] = $"v1/customers/{firm}/history",
            ["hierarchy"] = $"v1/customers/{firm}/hierarchy",
            ["network"] = $"v1/customers/{firm}/relationships",
            ["recycle_bin"] = $"v1/recycle-bin/{gone}",
        };
    }

    /// <summary>What is decided of customers: a suspected pair, a merge, a change request, an import.</summary>
    private async Task<Dictionary<string, string>> FillDecisionsAsync(HttpClient admin)
    {
        var (pair, merged) = (await TwinsAsync(), await TwinsAsync());
        var preview = await JsonCalls.OkAsync(admin.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{merged.Second}}"],"survivor_id":"{{merged.First}}"}"""));
        var merge = await JsonCalls.OkAsync(admin.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}"""));

        var owned = await PostAsync(admin, "v1/customers?allow_duplicate=true&reason=another+one", """{"kind":"person","family_name":"Matrix","department":"sales","source":{"type":"enquiry"}}""");
        using var asker = await CreateAsync(new { name = "asker", scopes = (string[])[Scopes.CustomersRead, Scopes.CustomersWrite], departments = (string[])["support"] });
        var asked = await asker.PatchAsync($"v1/customers/{owned}", """{"emails":[{"address":"ada.matrix@example.com"}]}""", "*");
        Assert.True((int)asked.Status == 202, asked.ToString());

        using var file = new StringContent($$"""{"kind":"person","family_name":"Matrix","external_ids":[{"system":"matrix","id":"{{Guid.NewGuid():n}}"}]}""", System.Text.Encoding.UTF8, "application/x-ndjson");
        using var accepted = await admin.PostAsync("v1/imports", file);
        Assert.Equal(202, (int)accepted.StatusCode);
        var import = accepted.Headers.Location!.OriginalString.TrimStart('/');
        await Eventually.GetAsync(() => admin.CallAsync(import), i => (string?)i["status"] == "completed", TimeSpan.FromMinutes(1));

        return new()
        {
            ["candidates"] = pair.Email,
            ["duplicates"] = $"v1/duplicates?customer_id={pair.First}",
            ["merge"] = $"v1/merges/{merge["id"]}",
            ["change_request"] = $"v1/change-requests/{asked["id"]}",
            ["import_results"] = $"{import}/results",
        };

        async Task<(string First, string Second, string Email)> TwinsAsync()
        {
            var email = $"{Guid.NewGuid():n}@example.com";
            var twin = $$$"""{"kind":"person","given_name":"Twin","family_name":"Matrix","birth_date":"1815-12-10","emails":[{"address":"{{{email}}}"}],"source":{"type":"enquiry"}}""";
            var path = "v1/customers?allow_duplicate=true&reason=another+one";
            return (await PostAsync(admin, path, twin), await PostAsync(admin, path, twin), email);
        }
    }

    /// <summary>Null: 403.</summary>
    /// <param name="email">Of somebody who is there already.</param>
    private static async Task<JsonNode?> SuspectAsync(HttpClient caller, string email)
    {
        var answer = await caller.PostAsync("v1/customers", $$$"""{"kind":"person","family_name":"Matrix","emails":[{"address":"{{{email}}}"}],"source":{"type":"enquiry"}}""");
        Assert.True((int)answer.Status is 409 or 403, answer.ToString());
        return (int)answer.Status == 409 ? answer.Body : null;
    }

    private static async Task<string> PostAsync(HttpClient caller, string path, string json)
    {
        using var content = new StringContent(json, System.Text.Encoding.UTF8, "application/json");
        using var answer = await caller.PostAsync(path, content);
        var text = await answer.Content.ReadAsStringAsync();
        Assert.True((int)answer.StatusCode == 201, text);
        return JsonNode.Parse(text)!["id"]?.GetValue<string>() ?? "";
    }

    /// <summary>Null: 403.</summary>
    private static async Task<JsonNode?> ReadAsync(HttpClient caller, string path)
    {
        // A part of the overview that was late is there the next time.
        var (status, text) = await Eventually.GetAsync(
            async () =>
            {
                using var answer = await caller.GetAsync(path);
                return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync());
            },
            a => !a.Item2.Contains("\"unavailable\"", StringComparison.Ordinal));
        Assert.True(status is 200 or 403, text);
        return status == 200 ? JsonNode.Parse(text) : null;
    }

    private static JsonNode? At(JsonNode node, string path) => path.Split('/').Aggregate<string, JsonNode?>(node, (at, step) =>
        at is JsonArray list ? list.ElementAtOrDefault(int.Parse(step, System.Globalization.CultureInfo.InvariantCulture)) : at?[step]);
}

using Crm.Contacts.Domain;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.Tags;
using Crm.Contracts;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>
/// Customers, newest first, filtered exactly and paged by keyset; or with <c>q</c> the best hundred by
/// name prefix, name with a typo, e-mail address, phone number and external id, ranked and unpaged. Nobody finds by a
/// field that the own roles hide.
/// </summary>
internal static class ListCustomers
{
    public static readonly string[] Parameters =
        [.. PageRequest.Parameters, "q", "email", "phone", "external_id", "lifecycle", "department", "tag+", "updated_at[gte]", AttributeFilter.Parameter];

    private const int BestMatches = 100;

    public static async Task<Page<CustomerView>> Handle(HttpRequest request, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var q = request.Query["q"].ToString().Trim();
        if (q.Length > 0)
        {
            return await SearchAsync(request, q, db, clock, ct);
        }

        if (!request.Query.Keys.Any(IsOfGroup))
        {
            CallerRights.Current.SeeParts();
        }

        var page = PageRequest.Read(request, Ids.Customer);
        var customers = Filter(request, await db.WithAttributesAsync(request, ct));
        var found = await customers.Include(c => c.ExternalIds).AsSplitQuery().AsNoTracking().ToPageAsync(page, c => c.Id, Ids.Customer, c => c, ct);
        return new(await db.ShowAsync(found.Data, ct), found.HasMore, found.NextCursor);
    }

    /// <summary>An answer to a question about such a field would tell it of records in which it is not granted.</summary>
    private static bool IsOfGroup(string parameter) => parameter is not ("external_id" or "lifecycle" or "department" or "updated_at[gte]") && !PageRequest.Parameters.Contains(parameter);

    private static IQueryable<Customer> Filter(HttpRequest request, IQueryable<Customer> customers)
    {
        customers = customers.Living();
        if (request.Query["email"] is [{ } email])
        {
            CallerRights.Current.RequireRead(FieldGroups.ContactDetails, "email");
            var value = Email.Normalize(email).ToLowerInvariant();
            customers = customers.Where(c => c.Identifiers.Any(i => i.Kind == CustomerIdentifier.Email && i.Value == value));
        }

        if (request.Query["phone"] is [{ } phone])
        {
            CallerRights.Current.RequireRead(FieldGroups.ContactDetails, "phone");
            // A plus sign that was not encoded arrives as a blank.
            var value = Phone.Normalize(phone.StartsWith(' ') ? $"+{phone[1..]}" : phone);
            customers = customers.Where(c => c.Identifiers.Any(i => i.Kind == CustomerIdentifier.Phone && i.Value == value));
        }

        if (request.Query["external_id"] is [{ } externalId])
        {
            if (externalId.Split(':', 2) is not [var system, var value])
            {
                throw ProblemException.InvalidParameter("external_id", "system:id");
            }

            customers = customers.Where(c => c.ExternalIds.Any(e => e.System == system && e.Value == value));
        }

        if (request.ReadWord<Lifecycle>("lifecycle") is { } lifecycle)
        {
            customers = customers.Where(c => c.Lifecycle == lifecycle);
        }

        if (request.Query["department"] is [{ } department])
        {
            customers = customers.Where(c => c.Department == department);
        }

        if (request.Query["tag"] is { Count: > 0 } asked)
        {
            CallerRights.Current.RequireRead(FieldGroups.CustomFields, "tag");
            string[] tags = [.. asked.Select(TagCustomer.NameOf)];
            // The first condition is that of the index.
            customers = customers.Where(c => c.Tags.Count > 0 && tags.All(t => c.Tags.Contains(t)));
        }

        if (request.Query["updated_at[gte]"] is [{ } text])
        {
            var since = Instants.TryParse(text, out var instant) ? instant : throw ProblemException.InvalidParameter("updated_at[gte]", "An RFC 3339 instant with its zone.");
            customers = customers.Where(c => c.UpdatedAt >= since);
        }

        return customers;
    }

    private static async Task<Page<CustomerView>> SearchAsync(HttpRequest request, string q, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        if (q.Length > 200)
        {
            throw ProblemException.InvalidParameter("q", "At most 200 characters.");
        }

        CallerRights.Current.RequireRead(FieldGroups.Names, "q");
        var byContact = CallerRights.Current.Read(FieldGroups.ContactDetails) == FieldAccess.Allow;
        var limit = PageRequest.ReadLimit(request, BestMatches);
        var name = TextFolding.Fold(q);
        var escaped = name.Replace(@"\", @"\\", StringComparison.Ordinal).Replace("%", @"\%", StringComparison.Ordinal).Replace("_", @"\_", StringComparison.Ordinal);
        var (prefix, word) = ($"{escaped}%", $"% {escaped}%");
        var (email, phone) = (q.ToLowerInvariant(), Phone.Normalize(q));
        var rows = CallerRights.Current.Rows;
        var (all, departments, attributes) = (rows is null, rows?.Departments?.ToArray() ?? [], rows?.Attributes);
        var (unseen, own, now) = (CallerRights.Current.UnseenDepartments.ToArray(), CallerRights.Current.Departments.ToArray(), clock.GetUtcNow());
        var open = unseen.Length == 0;
        var ids = await db.InTransactionAsync(async () =>
        {
            await db.Database.ExecuteSqlAsync($"SET LOCAL pg_trgm.word_similarity_threshold = 0.4", ct);
            return await db.Database.SqlQuery<Guid>($"""
                SELECT id AS "Value" FROM (
                    SELECT * FROM (
                    SELECT customer_id AS id, 10.0 AS score FROM customer_identifiers WHERE {byContact} AND kind = 'email' AND value = {email}
                    UNION ALL
                    SELECT customer_id, 10.0 FROM customer_identifiers WHERE {byContact} AND kind = 'phone' AND value = {phone}
                    UNION ALL
                    (SELECT customer_id, 10.0 FROM external_ids WHERE external_id = {q} LIMIT {BestMatches})
                    UNION ALL
                    (SELECT id, 2 + similarity(search_name, {name}) FROM customers
                     WHERE (search_name LIKE {prefix} OR search_name LIKE {word}) AND state = 'active'
                       AND ({all} OR department = ANY ({departments}) OR attributes @> {attributes}::jsonb)
                       AND ({open} OR department IS NULL OR department <> ALL ({unseen}) OR EXISTS (
                           SELECT FROM grants g WHERE g.customer_id = customers.id AND g.owner_department = customers.department AND g.grantee_department = ANY ({own})
                               AND g.ended_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > {now})))
                     LIMIT 1000)
                    UNION ALL
                    (SELECT id, word_similarity({name}, search_name) + similarity(search_name, {name}) / 2 FROM customers
                     WHERE {name} <% search_name AND state = 'active'
                       AND ({all} OR department = ANY ({departments}) OR attributes @> {attributes}::jsonb)
                       AND ({open} OR department IS NULL OR department <> ALL ({unseen}) OR EXISTS (
                           SELECT FROM grants g WHERE g.customer_id = customers.id AND g.owner_department = customers.department AND g.grantee_department = ANY ({own})
                               AND g.ended_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > {now})))
                     ORDER BY 2 DESC LIMIT {BestMatches})
                    ) AS found
                    WHERE ({all} AND {open}) OR EXISTS (
                        SELECT FROM customers WHERE customers.id = found.id AND ({all} OR department = ANY ({departments}) OR attributes @> {attributes}::jsonb)
                            AND ({open} OR department IS NULL OR department <> ALL ({unseen}) OR EXISTS (
                                SELECT FROM grants g WHERE g.customer_id = customers.id AND g.owner_department = customers.department AND g.grantee_department = ANY ({own})
                                    AND g.ended_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > {now}))))
                ) AS hits
                GROUP BY id ORDER BY max(score) DESC, id LIMIT {limit}
                """).ToListAsync(ct);
        }, ct);
        var found = await db.Customers.Living().Include(c => c.ExternalIds).AsSplitQuery().AsNoTracking().Where(c => ids.Contains(c.Id)).ToDictionaryAsync(c => c.Id, ct);
        return new(await db.ShowAsync([.. ids.Where(found.ContainsKey).Select(id => found[id])], ct), HasMore: false, NextCursor: null);
    }
}

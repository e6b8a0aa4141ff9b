namespace Crm.Contacts.Domain.Imports;

/// <summary>
/// Mappings for the exports of other products, as these write their columns: HubSpot and SuiteCRM by label, Salesforce
/// (Data Loader, weekly export) and EspoCRM by the field's name.
/// </summary>
internal static class ReadyMappings
{
    private static readonly Dictionary<string, string> Person = new() { ["kind"] = "person" };
    private static readonly Dictionary<string, string> Organization = new() { ["kind"] = "organization" };

    /// <summary>HubSpot's stages; those before a purchase are prospects until somebody asked for something.</summary>
    private static readonly Dictionary<string, Dictionary<string, string>> HubSpotStages = new()
    {
        ["lifecycle"] = new()
        {
            ["Subscriber"] = "prospect", ["Lead"] = "prospect", ["Marketing Qualified Lead"] = "prospect", ["marketingqualifiedlead"] = "prospect",
            ["Sales Qualified Lead"] = "enquiry", ["salesqualifiedlead"] = "enquiry", ["Opportunity"] = "enquiry",
            ["Customer"] = "active_buyer", ["Evangelist"] = "active_buyer", ["Other"] = "",
        },
    };

    /// <summary>Salesforce writes an empty reference so, in exports of all its tables.</summary>
    private static readonly Dictionary<string, Dictionary<string, string>> NoRecord = new()
    {
        ["deleted"] = new() { ["000000000000000"] = "", ["000000000000000AAA"] = "" },
    };

    public static readonly IReadOnlyDictionary<string, ImportMapping> All = new SortedDictionary<string, ImportMapping>(StringComparer.Ordinal)
    {
        ["hubspot"] = new()
        {
            Fields = new()
            {
                ["Record ID"] = "external_id.hubspot", ["Contact ID"] = "external_id.hubspot", ["First Name"] = "given_name", ["Last Name"] = "family_name",
                ["Email"] = "email.work", ["Work email"] = "email.work", ["Phone Number"] = "phone", ["Mobile Phone Number"] = "phone.mobile",
                ["Street Address"] = "address.lines", ["City"] = "address.city", ["State/Region"] = "address.region", ["Postal Code"] = "address.postal_code",
                ["Country/Region"] = "address.country", ["Country"] = "address.country", ["Date of birth"] = "birth_date", ["Lifecycle Stage"] = "lifecycle",
                ["Job Title"] = "attributes.job_title", ["Company Name"] = "attributes.company", ["Lead Status"] = "attributes.lead_status",
                ["Contact owner"] = "attributes.owner", ["Original Source"] = "source.detail", ["Original Traffic Source"] = "source.detail",
            },
            Values = HubSpotStages,
            Defaults = Person,
        },
        ["hubspot-companies"] = new()
        {
            Fields = new()
            {
                ["Record ID"] = "external_id.hubspot-company", ["Company ID"] = "external_id.hubspot-company", ["Company name"] = "name", ["Name"] = "name",
                ["Phone Number"] = "phone", ["Street Address"] = "address.lines", ["City"] = "address.city", ["State/Region"] = "address.region",
                ["Postal Code"] = "address.postal_code", ["Country/Region"] = "address.country", ["Lifecycle Stage"] = "lifecycle",
                ["Company Domain Name"] = "attributes.domain", ["Industry"] = "attributes.industry", ["Company owner"] = "attributes.owner",
            },
            Values = HubSpotStages,
            Defaults = Organization,
        },
        ["salesforce"] = new()
        {
            Fields = new()
            {
                ["Id"] = "external_id.salesforce", ["Contact ID"] = "external_id.salesforce", ["FirstName"] = "given_name", ["First Name"] = "given_name",
                ["LastName"] = "family_name", ["Last Name"] = "family_name", ["Email"] = "email.work", ["Phone"] = "phone.work", ["MobilePhone"] = "phone.mobile",
                ["Mobile"] = "phone.mobile", ["HomePhone"] = "phone.home", ["MailingStreet"] = "address.lines", ["Mailing Street"] = "address.lines",
                ["MailingCity"] = "address.city", ["Mailing City"] = "address.city", ["MailingState"] = "address.region", ["Mailing State/Province"] = "address.region",
                ["MailingPostalCode"] = "address.postal_code", ["Mailing Zip/Postal Code"] = "address.postal_code", ["MailingCountryCode"] = "address.country",
                ["MailingCountry"] = "address.country", ["Mailing Country"] = "address.country", ["Birthdate"] = "birth_date", ["Title"] = "attributes.job_title",
                ["AccountId"] = "attributes.salesforce_account", ["Account Name"] = "attributes.company", ["Department"] = "attributes.department",
                ["LeadSource"] = "source.detail", ["Lead Source"] = "source.detail", ["OwnerId"] = "attributes.owner",
                ["IsDeleted"] = "deleted", ["Deleted"] = "deleted", ["MasterRecordId"] = "deleted",
            },
            Values = NoRecord,
            Defaults = Person,
        },
        ["salesforce-accounts"] = new()
        {
            Fields = new()
            {
                ["Id"] = "external_id.salesforce", ["Account ID"] = "external_id.salesforce", ["Name"] = "name", ["Account Name"] = "name", ["Phone"] = "phone.work",
                ["BillingStreet"] = "address.billing.lines", ["BillingCity"] = "address.billing.city", ["BillingState"] = "address.billing.region",
                ["BillingPostalCode"] = "address.billing.postal_code", ["BillingCountryCode"] = "address.billing.country", ["BillingCountry"] = "address.billing.country",
                ["ShippingStreet"] = "address.shipping.lines", ["ShippingCity"] = "address.shipping.city", ["ShippingState"] = "address.shipping.region",
                ["ShippingPostalCode"] = "address.shipping.postal_code", ["ShippingCountryCode"] = "address.shipping.country", ["ShippingCountry"] = "address.shipping.country",
                ["Industry"] = "attributes.industry", ["Website"] = "attributes.website", ["AccountNumber"] = "external_id.salesforce-number", ["AccountSource"] = "source.detail",
                ["IsDeleted"] = "deleted", ["Deleted"] = "deleted", ["MasterRecordId"] = "deleted",
            },
            Values = NoRecord,
            Defaults = Organization,
        },
        ["espocrm"] = new()
        {
            Fields = new()
            {
                ["id"] = "external_id.espocrm", ["firstName"] = "given_name", ["First Name"] = "given_name", ["lastName"] = "family_name", ["Last Name"] = "family_name",
                ["emailAddress"] = "email", ["Email"] = "email", ["phoneNumber"] = "phone", ["Phone"] = "phone", ["addressStreet"] = "address.lines",
                ["addressCity"] = "address.city", ["addressState"] = "address.region", ["addressPostalCode"] = "address.postal_code", ["addressCountry"] = "address.country",
                ["title"] = "attributes.job_title", ["accountName"] = "attributes.company", ["accountId"] = "attributes.espocrm_account", ["assignedUserName"] = "attributes.owner",
                ["source"] = "source.detail", ["deleted"] = "deleted",
            },
            Defaults = Person,
        },
        ["espocrm-accounts"] = new()
        {
            Fields = new()
            {
                ["id"] = "external_id.espocrm", ["name"] = "name", ["emailAddress"] = "email", ["phoneNumber"] = "phone", ["billingAddressStreet"] = "address.billing.lines",
                ["billingAddressCity"] = "address.billing.city", ["billingAddressState"] = "address.billing.region", ["billingAddressPostalCode"] = "address.billing.postal_code",
                ["billingAddressCountry"] = "address.billing.country", ["shippingAddressStreet"] = "address.shipping.lines", ["shippingAddressCity"] = "address.shipping.city",
                ["shippingAddressState"] = "address.shipping.region", ["shippingAddressPostalCode"] = "address.shipping.postal_code", ["shippingAddressCountry"] = "address.shipping.country",
                ["industry"] = "attributes.industry", ["website"] = "attributes.website", ["assignedUserName"] = "attributes.owner",
                ["deleted"] = "deleted",
            },
            Defaults = Organization,
        },
        ["suitecrm"] = new()
        {
            Fields = new()
            {
                ["ID"] = "external_id.suitecrm", ["First Name"] = "given_name", ["first_name"] = "given_name", ["Last Name"] = "family_name", ["last_name"] = "family_name",
                ["Email Address"] = "email", ["email_address"] = "email", ["email1"] = "email", ["Office Phone"] = "phone.work", ["phone_work"] = "phone.work",
                ["Mobile"] = "phone.mobile", ["phone_mobile"] = "phone.mobile", ["Home"] = "phone.home", ["phone_home"] = "phone.home",
                ["Primary Address Street"] = "address.lines", ["primary_address_street"] = "address.lines", ["Primary Address City"] = "address.city",
                ["primary_address_city"] = "address.city", ["Primary Address State"] = "address.region", ["primary_address_state"] = "address.region",
                ["Primary Address Postal Code"] = "address.postal_code", ["primary_address_postalcode"] = "address.postal_code",
                ["Primary Address Country"] = "address.country", ["primary_address_country"] = "address.country", ["Birthdate"] = "birth_date",
                ["Job Title"] = "attributes.job_title", ["Title"] = "attributes.job_title", ["Account Name"] = "attributes.company", ["account_name"] = "attributes.company",
                ["Department"] = "attributes.department", ["Lead Source"] = "source.detail", ["lead_source"] = "source.detail",
                ["Other Phone"] = "phone.other", ["phone_other"] = "phone.other", ["Alternate Address Street"] = "address.other.lines", ["alt_address_street"] = "address.other.lines",
                ["Alternate Address City"] = "address.other.city", ["alt_address_city"] = "address.other.city", ["Alternate Address State"] = "address.other.region",
                ["alt_address_state"] = "address.other.region", ["Alternate Address Postal Code"] = "address.other.postal_code", ["alt_address_postalcode"] = "address.other.postal_code",
                ["Alternate Address Country"] = "address.other.country", ["alt_address_country"] = "address.other.country",
                ["deleted"] = "deleted",
            },
            Defaults = Person,
        },
        ["suitecrm-accounts"] = new()
        {
            Fields = new()
            {
                ["ID"] = "external_id.suitecrm", ["Name"] = "name", ["Email Address"] = "email", ["email1"] = "email", ["Office Phone"] = "phone.work", ["phone_office"] = "phone.work",
                ["Billing Street"] = "address.billing.lines", ["billing_address_street"] = "address.billing.lines", ["Billing City"] = "address.billing.city",
                ["billing_address_city"] = "address.billing.city", ["Billing State"] = "address.billing.region", ["billing_address_state"] = "address.billing.region",
                ["Billing Postal Code"] = "address.billing.postal_code", ["billing_address_postalcode"] = "address.billing.postal_code",
                ["Billing Country"] = "address.billing.country", ["billing_address_country"] = "address.billing.country", ["Shipping Street"] = "address.shipping.lines",
                ["shipping_address_street"] = "address.shipping.lines", ["Shipping City"] = "address.shipping.city", ["shipping_address_city"] = "address.shipping.city",
                ["Shipping State"] = "address.shipping.region", ["shipping_address_state"] = "address.shipping.region", ["Shipping Postal Code"] = "address.shipping.postal_code",
                ["shipping_address_postalcode"] = "address.shipping.postal_code", ["Shipping Country"] = "address.shipping.country",
                ["shipping_address_country"] = "address.shipping.country", ["Phone Alternate"] = "phone.other", ["phone_alternate"] = "phone.other",
                ["Industry"] = "attributes.industry", ["Website"] = "attributes.website", ["deleted"] = "deleted",
            },
            Defaults = Organization,
        },
    };
}

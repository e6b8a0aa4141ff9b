using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Imports;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;

namespace Crm.Contacts.Features.Imports;

/// <summary>By what a row finds its customer, in canonical form.</summary>
/// <param name="System">Of an external id; of an attribute its name.</param>
internal readonly record struct ImportKey(MatchKey Kind, string System, string Value);

/// <summary>One row of an import: what it says, whom it is about, and what became of it.</summary>
internal sealed class ImportRow(int number, string body)
{
    public int Number { get; } = number;
    public string Body { get; } = body;
    public JsonObject? Fields { get; set; }

    /// <summary>What is wrong with it that is not in <see cref="Fields"/>: it fails, with what is wrong with those.</summary>
    public List<FieldError> Flaws { get; } = [];

    public IReadOnlyList<ImportKey> Keys { get; set; } = [];

    /// <summary>Who has the keys.</summary>
    public IReadOnlyDictionary<ImportKey, List<Customer>> Known { get; set; } = new Dictionary<ImportKey, List<Customer>>();

    /// <summary>The customer that the row makes when it finds nobody, or why it can make none.</summary>
    public (Customer? Customer, JsonObject? Audit, ProblemException? Problem) Draft { get; set; }

    public ImportOutcome Outcome { get; set; } = ImportOutcome.Failed;
    public Customer? Customer { get; set; }
    public JsonObject? Audit { get; set; }
    public long? Version { get; set; }
    public string? Before { get; set; }
    public string? Code { get; private set; }
    public IReadOnlyList<FieldError>? Errors { get; private set; }

    public void Fail(string code) => Code = code;

    public void Fail(ProblemException problem)
    {
        Code = problem.Code.Code;
        Errors = [.. Flaws.Union(problem.Errors.Count > 0 ? problem.Errors : [new FieldError("", problem.Code.Code, problem.Message)])];
    }
}

/// <summary>Makes rows of the text that came; everything about a row that no other row or customer has a say in.</summary>
internal sealed class ImportReader(Import import, FieldCatalog fields, Validation validation, TimeProvider clock)
{
    private readonly CompiledMapping _mapping = new(import.Mapping, import.Columns, fields);

    public ImportRow Read(int number, string body)
    {
        var row = new ImportRow(number, body);
        try
        {
            var flaws = new List<FieldError>();
            var members = _mapping.Read(import.Format, body, flaws);
            row.Flaws.AddRange([.. flaws, .. fields.TakeBadNumbers(members)]);
            row.Fields = members;
            row.Keys = [.. KeysOf(row.Fields), .. UniqueValuesOf(row.Fields)];
        }
        catch (ProblemException problem)
        {
            row.Fail(problem);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // Such as half a surrogate pair: text that is no text.
            row.Fail(ProblemException.Invalid(new FieldError("", "bad_text", "The row has text that cannot be stored.")));
        }

        return row;
    }

    /// <summary>The row's customer when it finds nobody.</summary>
    public async Task DraftAsync(ImportRow row, CancellationToken ct)
    {
        if (row.Fields is null || row.Draft is not (null, _, null))
        {
            return;
        }

        try
        {
            var members = row.Fields.DeepClone().AsObject();
            var flaws = row.Flaws.ToList();
            _mapping.AddDefaults(members, flaws);
            var input = await CheckAsync(flaws, null, members, ct);
            var customer = Customer.Register(input, import.Actor, clock.GetUtcNow());
            row.Draft = (customer, import.DryRun ? null : AuditChanges.Between(null, customer.ToInput()), null);
        }
        catch (ProblemException problem)
        {
            row.Draft = (null, null, problem);
        }
    }

    /// <summary>The customer as the patch makes it.</summary>
    /// <param name="flaws">What is wrong with the row that is not in the patch.</param>
    /// <param name="before">Null of a new one.</param>
    /// <param name="patch">Loses the members that no customer can have.</param>
    /// <exception cref="ProblemException">400 with all that is wrong.</exception>
    public async Task<CustomerInput> CheckAsync(IEnumerable<FieldError> flaws, CustomerInput? before, JsonObject patch, CancellationToken ct)
    {
        var errors = flaws.ToList();
        var unread = new HashSet<string>(StringComparer.Ordinal);
        CustomerInput? input = null;
        while (input is null)
        {
            try
            {
                input = MergePatch.Apply(before ?? new CustomerInput(), patch);
            }
            catch (ProblemException problem) when (problem.Code == ProblemCodes.ValidationFailed && problem.Errors is [var error, ..] && patch.ContainsKey(MemberOf(error)))
            {
                // The reader stops at the first one.
                Add(problem);
                unread.Add(MemberOf(error));
                patch.Remove(MemberOf(error));
            }
        }

        var attributes = input.Kind is not null;
        try
        {
            await validation.EnsureValidAsync(input, ct);
        }
        catch (ProblemException problem)
        {
            Add(problem);
            attributes &= problem.Errors.All(e => MemberOf(e) != "attributes");
        }

        if (attributes)
        {
            try
            {
                input = fields.Check(before, input);
            }
            catch (ProblemException problem) when (problem.Code == ProblemCodes.ValidationFailed)
            {
                Add(problem);
            }
        }

        return errors.Count > 0 ? throw ProblemException.Invalid(errors) : input;

        // What could not be read is missing now, which is no other problem.
        void Add(ProblemException problem) =>
            errors.AddRange(problem.Errors.Where(e => !unread.Contains(MemberOf(e)) && !errors.Exists(known => known.Pointer == e.Pointer)).ToList());

        static string MemberOf(FieldError error) => error.Pointer.Split('/') is [_, var member, ..] ? member : "";
    }

    private IEnumerable<ImportKey> UniqueValuesOf(JsonObject members) =>
        from field in members["attributes"] is JsonObject ? fields.Unique : []
        let value = members["attributes"]![field.Name]
        where value is not null
        let key = field.KeyOf(JsonSerializer.SerializeToElement(value))
        where key is not null
        select new ImportKey(MatchKey.Attribute, field.Name, key);

    /// <summary>What has not the form of a key is left to validation.</summary>
    private static IEnumerable<ImportKey> KeysOf(JsonObject members)
    {
        foreach (var entry in Entries("external_ids"))
        {
            if (Text(entry, "system") is { } system && Text(entry, "id") is { } id)
            {
                yield return new(MatchKey.ExternalId, system, id);
            }
        }

        foreach (var entry in Entries("emails"))
        {
            if (Text(entry, "address") is { } address)
            {
                yield return new(MatchKey.Email, "", Email.Normalize(address).ToLowerInvariant());
            }
        }

        foreach (var entry in Entries("phones"))
        {
            if (Text(entry, "number") is { } number)
            {
                yield return new(MatchKey.Phone, "", Phone.Normalize(number));
            }
        }

        IEnumerable<JsonObject> Entries(string list) => (members[list] as JsonArray ?? []).OfType<JsonObject>();

        static string? Text(JsonObject entry, string member) =>
            entry[member] is JsonValue value && value.TryGetValue(out string? text) && !text.Contains('\0', StringComparison.Ordinal) ? text : null;
    }
}

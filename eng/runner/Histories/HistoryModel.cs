using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Crm.Runner.Histories;

/// <summary>
/// What must be true after the steps so far, in the simplest words: merges are a forest, and every row belongs to whoever
/// stands for the customer under whom it was recorded.
/// </summary>
internal sealed class HistoryModel
{
    private readonly Dictionary<Guid, MergeFact> _absorbedBy = [];
    private readonly Dictionary<Guid, JsonElement> _created = [];

    /// <summary>What not everybody is created with, and several may have.</summary>
    private static readonly string[] Competing = ["birth_date", "locale", "time_zone", "attributes.even", "attributes.odd"];

    public List<Guid> Customers { get; } = [];

    public List<RowFact> Rows { get; } = [];

    /// <summary>On cases.</summary>
    public List<string> Messages { get; } = [];

    public List<MergeFact> Merges { get; } = [];

    public IReadOnlyList<MergeFact> Active => [.. Merges.Where(m => m.UndoneAt is null)];

    /// <param name="answer">The customer as the API answered.</param>
    public void Create(JsonElement answer)
    {
        var customer = PublicIds.Parse(answer.GetProperty("id").GetString()!);
        Customers.Add(customer);
        _created.Add(customer, answer);
    }

    /// <summary>
    /// What the API shows of a customer who was not merged: all that was answered when it was created, the edits since, and of
    /// those whom it has absorbed what it has not itself.
    /// </summary>
    public JsonObject FieldsOf(Guid customer)
    {
        var fields = JsonObject.Create(_created[customer])!;
        foreach (var edit in Rows.Where(r => r.Type == RowFact.Edit && r.Origin == customer))
        {
            if (edit.Id == RowFact.GivenName)
                Rename(fields, NewName(edit.At));
            else
                fields["attributes"]![edit.Id] = edit.At;
        }

        foreach (var merge in Merges.Where(m => m.Survivor == customer && m.UndoneAt is null))
        {
            var members = merge.Absorbed.ToDictionary(a => a, FieldsOf);
            foreach (var (name, chosen) in merge.Choices)
                Choose(fields, name, members[chosen]);
            foreach (var absorbed in merge.Absorbed.Select(a => members[a]))
            {
                fields["merged_from"]!.AsArray().Add(absorbed["id"]!.DeepClone());
                foreach (var (name, value) in absorbed)
                    Unite(fields, name, value);
            }
        }

        return fields;
    }

    /// <summary>
    /// By field, whose value to choose among those who are absorbed at once: the first one's who has it. Else the latest
    /// change would decide, and of that the model, which has no clock, knows nothing.
    /// </summary>
    public Dictionary<string, Guid> ChoicesAmong(IReadOnlyList<Guid> absorbed)
    {
        var fields = absorbed.Select(a => (Customer: a, Values: FieldsOf(a))).ToList();
        return Competing.Select(name => (Name: name, Having: fields.Where(f => ValueOf(f.Values, name) is not null).ToList()))
            .Where(c => c.Having.Count > 1).ToDictionary(c => c.Name, c => c.Having[0].Customer);
    }

    /// <summary>Given at a step.</summary>
    public static string NewName(int step) => string.Create(CultureInfo.InvariantCulture, $"N{step}");

    /// <summary>Whether the latest word of a customer who stands for nobody else is yes; null when nothing was said.</summary>
    public bool? ConsentOf(Guid customer) => Rows.LastOrDefault(r => r.Granted is not null && r.Origin == customer)?.Granted;

    public bool HasAbsorbed(Guid customer) => Merges.Exists(m => m.Survivor == customer && m.UndoneAt is null);

    public Guid? SurvivorOf(Guid customer) => _absorbedBy.TryGetValue(customer, out var merge) ? merge.Survivor : null;

    /// <summary>Who stands for a customer now.</summary>
    public Guid RootOf(Guid customer)
    {
        while (_absorbedBy.TryGetValue(customer, out var merge))
            customer = merge.Survivor;
        return customer;
    }

    public void Merge(string id, Guid survivor, IReadOnlyList<Guid> absorbed, IReadOnlyDictionary<string, Guid> choices, int at)
    {
        var merge = new MergeFact(id, survivor, absorbed, choices, at);
        Merges.Add(merge);
        foreach (var customer in absorbed)
            _absorbedBy.Add(customer, merge);
    }

    /// <summary>The absorbed are themselves again; what was recorded or edited since under those who stood for them stays, and is listed, and refusals count for them too.</summary>
    public void Undo(MergeFact merge, int at)
    {
        merge.UndoneAt = at;
        var (here, since) = (merge.Survivor, merge.At);
        while (true)
        {
            merge.Stayed.UnionWith(Rows.Where(r => r.Type != RowFact.Edit && r.Origin == here && r.At > since).Select(r => (r.Type, r.Id)));
            merge.KeptEdits.UnionWith(Rows.Where(r => r.Type == RowFact.Edit && r.Origin == here && r.At > since)
                .Select(r => (here, r.Id == RowFact.GivenName ? r.Id : $"attributes.{r.Id}")));
            merge.Refused |= Rows.Exists(r => r.Refuses && r.Origin == here && r.At > since);
            if (!_absorbedBy.TryGetValue(here, out var next))
                break;
            (here, since) = (next.Survivor, next.At);
        }

        foreach (var customer in merge.Absorbed)
            _absorbedBy.Remove(customer);
    }

    private static void Rename(JsonObject fields, string name)
    {
        fields["given_name"] = name;
        fields["display_name"] = $"{name} {fields["family_name"]}";
    }

    private static JsonNode? ValueOf(JsonObject fields, string name) => name.Split('.') is [var parent, var attribute] ? fields[parent]?[attribute] : fields[name];

    /// <summary>Whoever was chosen and has it no more, since a merge of its own was undone, gives nothing.</summary>
    private static void Choose(JsonObject fields, string name, JsonObject chosen)
    {
        if (ValueOf(chosen, name) is not { } value)
            return;
        if (name.Split('.') is [var parent, var attribute])
            fields[parent]![attribute] = value.DeepClone();
        else
            fields[name] = value.DeepClone();
    }

    private static void Unite(JsonObject fields, string name, JsonNode? others)
    {
        switch (fields[name])
        {
            case null:
                fields[name] = others?.DeepClone();
                break;
            case JsonArray list:
                foreach (var entry in others!.AsArray().Where(e => !list.Any(o => JsonNode.DeepEquals(o, e))).Select(e => e!.DeepClone()).ToList())
                {
                    if (entry is JsonObject point && point.ContainsKey("primary"))
                        point["primary"] = false;
                    list.Add(entry);
                }

                break;
            case JsonObject attributes when name == "attributes":
                foreach (var (attribute, value) in others!.AsObject().Where(a => !attributes.ContainsKey(a.Key)).ToList())
                    attributes[attribute] = value?.DeepClone();
                break;
        }
    }
}

/// <param name="Origin">Under whom the service said that it recorded the row.</param>
/// <param name="At">Number of the step.</param>
/// <param name="Granted">Of a consent.</param>
internal sealed record RowFact(string Type, string Id, Guid Origin, int At, bool? Granted = null)
{
    /// <summary>Of a field of the customer's record, which its id names.</summary>
    public const string Edit = "edit";

    /// <summary>The id of an edit of the given name; others name an attribute.</summary>
    public const string GivenName = "given_name";

    public const string Customer = "customer";
    public const string Merge = "merge";
    public const string Message = "message";

    public bool Refuses => Granted is false;
}

/// <param name="Choices">By field, whose value was chosen.</param>
internal sealed record MergeFact(string Id, Guid Survivor, IReadOnlyList<Guid> Absorbed, IReadOnlyDictionary<string, Guid> Choices, int At)
{
    public int? UndoneAt { get; set; }

    /// <summary>Somebody refused while it stood.</summary>
    public bool Refused { get; set; }

    /// <summary>Type and id of the rows that the undo has to list.</summary>
    public HashSet<(string Type, string Id)> Stayed { get; } = [];

    /// <summary>What the undo has to list of edits that stay, and with whom.</summary>
    public HashSet<(Guid Customer, string Field)> KeptEdits { get; } = [];
}

using Crm.Hosting.Data;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain.Imports;

public enum ImportFormat
{
    Csv,
    Ndjson,

    /// <summary>The first visible sheet of an Excel workbook; its rows are kept as those of CSV.</summary>
    Xlsx,
}

internal static class ImportFormats
{
    /// <summary>Rows are cells under the names of columns; else each one names its members.</summary>
    public static bool HasColumns(this ImportFormat format) => format != ImportFormat.Ndjson;
}

public enum ImportStatus
{
    Queued,
    Running,
    Completed,
    Undoing,
    Undone,
}

/// <summary>What became of one row.</summary>
public enum ImportOutcome
{
    Created,
    Updated,
    Unchanged,
    Failed,
}

/// <summary>What an undo did with a row.</summary>
public enum UndoOutcome
{
    Removed,
    Restored,
    Refused,
}

/// <summary>By what a row finds the customer that it is about.</summary>
public enum MatchKey
{
    ExternalId,
    Email,
    Phone,

    /// <summary>A unique field.</summary>
    Attribute,
}

/// <summary>By what an import finds customers: <c>external_id</c>, <c>email</c>, <c>phone</c> or, of a unique field, <c>attributes.NAME</c>.</summary>
/// <param name="Field">Of an attribute its name, else empty.</param>
internal readonly record struct MatchBy(MatchKey Kind, string Field)
{
    private const string Attributes = "attributes.";

    public string Text => Kind == MatchKey.Attribute ? Attributes + Field : Kind.ToWord();

    /// <summary>Null of what is none.</summary>
    public static MatchBy? Parse(string text) =>
        text.StartsWith(Attributes, StringComparison.Ordinal) ? new(MatchKey.Attribute, text[Attributes.Length..])
        : EnumWords<MatchKey>.TryParse(text, out var kind) && kind != MatchKey.Attribute ? new(kind, "")
        : null;
}

/// <summary>
/// A file of customers on its way in, batch by batch. The checkpoint moves in the transaction of its rows: a process
/// that dies leaves whole batches behind, and the next one goes on where it was.
/// </summary>
internal sealed class Import
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "import";

    private Import()
    {
    }

    public Guid Id { get; private set; }
    public ImportStatus Status { get; private set; }
    /// <summary>Of its rows: those of a workbook are rows of CSV.</summary>
    public ImportFormat Format { get; private set; }
    public bool Workbook { get; private set; }

    /// <summary>As it was sent.</summary>
    public ImportFormat Sent => Workbook ? ImportFormat.Xlsx : Format;
    public string? MappingName { get; private set; }
    public ImportMapping Mapping { get; private set; } = null!;
    public string[] Columns { get; private set; } = [];
    public string[] IgnoredColumns { get; private set; } = [];
    public string[] MatchOn { get; private set; } = [];
    public IEnumerable<MatchBy> MatchKeys => MatchOn.Select(m => MatchBy.Parse(m)!.Value);

    public bool DryRun { get; private set; }
    public string Actor { get; private set; } = "";
    public int Total { get; private set; }
    public int NextRow { get; private set; }

    /// <summary>How often the batch at hand was begun, as far as that is known; 0 before the first one.</summary>
    public int Attempts { get; private set; }

    public int Created { get; private set; }
    public int Updated { get; private set; }
    public int Unchanged { get; private set; }
    public int Failed { get; private set; }
    public int Removed { get; private set; }
    public int Restored { get; private set; }
    public int Refused { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset? StartedAt { get; private set; }
    public DateTimeOffset? FinishedAt { get; private set; }
    public DateTimeOffset? UndoAskedAt { get; private set; }
    public string? UndoAskedBy { get; private set; }
    public DateTimeOffset? UndoneAt { get; private set; }

    /// <summary>Services that an undo has asked in vain what they have of its customers; it waits for them.</summary>
    public string[] Missing { get; private set; } = [];

    /// <summary>No batch begins before.</summary>
    public DateTimeOffset? NextAt { get; private set; }

    public static Import Receive(ImportFormat format, string? mappingName, ImportMapping mapping, IEnumerable<MatchBy> matchOn, bool dryRun, string actor, DateTimeOffset now) => new()
    {
        Id = Guid.CreateVersion7(now),
        Format = format == ImportFormat.Xlsx ? ImportFormat.Csv : format,
        Workbook = format == ImportFormat.Xlsx,
        MappingName = mappingName,
        Mapping = mapping,
        MatchOn = [.. matchOn.Select(m => m.Text)],
        DryRun = dryRun,
        Actor = actor,
        NextRow = 1,
        CreatedAt = now,
    };

    /// <summary>The body is stored whole.</summary>
    public void Received(IReadOnlyCollection<string> columns, IReadOnlyCollection<string> ignored, int total)
    {
        Columns = [.. columns];
        IgnoredColumns = [.. ignored];
        Total = total;
    }

    /// <summary>Somebody begins the batch at hand who may not be the first one.</summary>
    public void Attempt() => Attempts++;

    public void Start(DateTimeOffset now)
    {
        Status = ImportStatus.Running;
        StartedAt ??= now;
    }

    public void Count(ImportOutcome outcome)
    {
        switch (outcome)
        {
            case ImportOutcome.Created:
                Created++;
                break;
            case ImportOutcome.Updated:
                Updated++;
                break;
            case ImportOutcome.Unchanged:
                Unchanged++;
                break;
            default:
                Failed++;
                break;
        }
    }

    /// <summary>Everything before this row is done, and the first attempt at it begins.</summary>
    public void Advance(int nextRow, DateTimeOffset now)
    {
        NextRow = nextRow;
        Attempts = 1;
        if (NextRow > Total)
        {
            Status = ImportStatus.Completed;
            FinishedAt = now;
        }
    }

    /// <summary>False for a repeated wish, which changes nothing.</summary>
    /// <exception cref="RuleViolationException">It was a dry run, or is not finished.</exception>
    public bool AskUndo(string actor, DateTimeOffset now)
    {
        if (Status is ImportStatus.Undoing or ImportStatus.Undone)
        {
            return false;
        }

        if (DryRun)
        {
            throw new RuleViolationException("A dry run changed nothing that could be undone.");
        }

        if (Status != ImportStatus.Completed)
        {
            throw new RuleViolationException("The import is not finished; wait until it is.");
        }

        Status = ImportStatus.Undoing;
        Attempts = 0;
        UndoAskedAt = now;
        UndoAskedBy = actor;
        return true;
    }

    public void Count(UndoOutcome outcome)
    {
        switch (outcome)
        {
            case UndoOutcome.Removed:
                Removed++;
                break;
            case UndoOutcome.Restored:
                Restored++;
                break;
            default:
                Refused++;
                break;
        }
    }

    /// <summary>A batch of the undo is done, and the first attempt at the next one begins.</summary>
    public void Undid()
    {
        Attempts = 1;
        (Missing, NextAt) = ([], null);
    }

    /// <summary>Services are away without whom nobody is removed: the batch at hand was not attempted.</summary>
    public void Await(IReadOnlyCollection<string> services, DateTimeOffset until)
    {
        Attempts--;
        (Missing, NextAt) = ([.. services], until);
    }

    public void Undone(DateTimeOffset now)
    {
        Status = ImportStatus.Undone;
        UndoneAt = now;
    }
}

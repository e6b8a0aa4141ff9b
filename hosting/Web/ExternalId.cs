namespace Crm.Hosting.Web;

/// <summary>An id in another system.</summary>
public sealed record ExternalId(string System, string Id)
{
    private const int Longest = 200;

    /// <summary>The external id of a path.</summary>
    /// <exception cref="ProblemException">400 when the source is not a word or the id not a line of text.</exception>
    public static ExternalId Read(string source, string externalId)
    {
        if (!SlugAttribute.IsSlug(source))
        {
            throw ProblemException.Invalid(new FieldError("source", "wrong_format", "Lower-case letters, digits, _ - and . only, 1 to 64 of them."));
        }

        return string.IsNullOrWhiteSpace(externalId) || externalId.Length > Longest || externalId.Any(char.IsControl)
            ? throw ProblemException.Invalid(new FieldError("externalId", "wrong_format", $"One line of 1 to {Longest} characters."))
            : new(source, externalId);
    }
}

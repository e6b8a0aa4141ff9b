using System.Text;
using Crm.Hosting.Web;
using HandlebarsDotNet;

namespace Crm.Campaigns.Domain.Campaigns;

/// <summary>A mail with variables; html is null when there is only text.</summary>
internal sealed record MailTemplate(string Subject, string Text, string? Html);

internal sealed record RenderedMail(string Subject, string Text, string? Html);

/// <summary>
/// Handlebars, of which only this is allowed: <c>{{variable}}</c>, <c>{{#if variable}}…{{else}}…{{/if}}</c>,
/// <c>{{#unless variable}}…{{/unless}}</c>, comments, <c>~</c>. So every variable is known before the first mail,
/// and a template can reach nothing but these values. What is missing renders as nothing; in html values are escaped.
/// </summary>
internal sealed class CompiledTemplate
{
    /// <summary>The page that ends marketing by e-mail, and the one with all purposes; each mail has its own.</summary>
    public const string UnsubscribeUrl = "unsubscribe_url";
    public const string PreferencesUrl = "preferences_url";

    private static readonly string[] Variables =
        [UnsubscribeUrl, PreferencesUrl, "given_name", "family_name", "display_name", "email", "country", "locale", "lifecycle", "tier", "department"];

    private static readonly IHandlebars Plain = Handlebars.Create(new HandlebarsConfiguration { NoEscape = true });
    private static readonly IHandlebars Escaping = Handlebars.Create(new HandlebarsConfiguration());

    private readonly HandlebarsTemplate<object, object> _subject;
    private readonly HandlebarsTemplate<object, object> _text;
    private readonly HandlebarsTemplate<object, object>? _html;

    private CompiledTemplate(MailTemplate template)
    {
        _subject = Plain.Compile(template.Subject);
        _text = Plain.Compile(template.Text);
        _html = template.Html is null ? null : Escaping.Compile(template.Html);
    }

    /// <exception cref="ProblemException">400 with a pointer to each part that is broken.</exception>
    public static CompiledTemplate Compile(MailTemplate template)
    {
        List<FieldError> errors =
        [
            .. Check(template.Subject, "/template/subject"),
            .. Check(template.Text, "/template/text"),
            .. Check(template.Html ?? "", "/template/html"),
        ];
        return errors.Count == 0 ? new(template) : throw ProblemException.Invalid(errors);
    }

    /// <param name="values">By variable; a missing one or null is nothing.</param>
    public RenderedMail Render(IReadOnlyDictionary<string, string?> values)
    {
        var known = Variables.ToDictionary(v => v, v => (object)(values.GetValueOrDefault(v) ?? ""), StringComparer.Ordinal);
        return new(OneLine(_subject(known)), _text(known), _html?.Invoke(known));
    }

    /// <summary>Line breaks and other control characters become blanks: data can never begin a header of its own.</summary>
    public static string OneLine(string text)
    {
        var line = new StringBuilder(text.Length);
        foreach (var character in text)
        {
            line.Append(char.IsControl(character) || character is '\u2028' or '\u2029' ? ' ' : character);
        }

        return line.ToString().Trim();
    }

    private static IEnumerable<FieldError> Check(string template, string pointer)
    {
        var blocks = new Stack<(string Name, bool Else)>();
        var position = 0;
        while ((position = template.IndexOf("{{", position, StringComparison.Ordinal)) >= 0)
        {
            var comment = template.AsSpan(position).StartsWith("{{!--", StringComparison.Ordinal);
            var end = template.IndexOf(comment ? "--}}" : "}}", position, StringComparison.Ordinal);
            if (end < 0)
            {
                yield return Broken(pointer, "A {{ is never closed.");
                yield break;
            }

            if (comment)
            {
                position = end + 4;
                continue;
            }

            var tag = template[(position + 2)..end];
            position = end + 2;
            if (tag.StartsWith('{') || tag.StartsWith('&') || (position < template.Length && template[position] == '}'))
            {
                yield return Broken(pointer, "{{{ and {{& are not allowed: values are always escaped as their place needs.");
                yield break;
            }

            var words = tag.Trim('~').Trim().Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            switch (words)
            {
                case [] or [['!', ..], ..]:
                    if (words is [])
                    {
                        yield return Broken(pointer, "{{}} names no variable.");
                    }

                    break;
                case ["else"] when blocks.TryPop(out var open):
                    if (open.Else)
                    {
                        yield return Broken(pointer, "A second {{else}} in one block.");
                    }

                    blocks.Push((open.Name, true));
                    break;
                case [var block and ("#if" or "#unless"), var variable]:
                    blocks.Push((block[1..], false));
                    if (!Variables.Contains(variable))
                    {
                        yield return Unknown(pointer, variable);
                    }

                    break;
                case [['/', .. var closed]]:
                    if (!blocks.TryPop(out var opened) || opened.Name != closed)
                    {
                        yield return Broken(pointer, $"{{{{/{closed}}}}} closes nothing that is open.");
                        yield break;
                    }

                    break;
                case [var variable] when variable.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or '-'):
                    if (!Variables.Contains(variable))
                    {
                        yield return Unknown(pointer, variable);
                    }

                    break;
                default:
                    yield return Broken(pointer, $"{{{{{Short(tag)}}}}} is not allowed: variables, #if and #unless only.");
                    break;
            }
        }

        if (blocks.Count > 0)
        {
            yield return Broken(pointer, $"{{{{#{blocks.Peek().Name}}}}} is never closed.");
        }
    }

    private static FieldError Broken(string pointer, string detail) => new(pointer, "broken_template", detail);

    private static FieldError Unknown(string pointer, string variable) =>
        new(pointer, "unknown_variable", $"There is no variable {Short(variable)}. There are: {string.Join(", ", Variables)}.");

    private static string Short(string text) => text.Length <= 50 ? text : $"{text[..50]}…";
}

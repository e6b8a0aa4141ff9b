#pragma warning disable ASP0029 // The way to validate what was not bound; still marked experimental.

using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Validation;

namespace Crm.Hosting.Web;

/// <summary>
/// Validates what did not come in as a bound body, by the same attributes: the result of a merge patch.
/// Attributes give <c>ErrorMessage = "code|text"</c> where the general code would say too little.
/// </summary>
public sealed class Validation(IOptions<ValidationOptions> options)
{
    /// <exception cref="ProblemException">400 with every field that is wrong.</exception>
    public async Task EnsureValidAsync<T>(T value, CancellationToken ct) where T : notnull
    {
        if (!options.Value.TryGetValidatableTypeInfo(typeof(T), out var type))
        {
            throw new InvalidOperationException($"{typeof(T)} is not known to validation: is AddValidation called in Program.cs, and is the type public?");
        }

        var context = new ValidateContext { ValidationContext = new ValidationContext(value), ValidationOptions = options.Value };
        await type.ValidateAsync(value, context, ct);
        if (context.ValidationErrors is { Count: > 0 } errors)
        {
            throw ProblemException.Invalid([.. errors.SelectMany(e => e.Value.Select(message => ToFieldError(e.Key, message)))]);
        }
    }

    internal static FieldError ToFieldError(string path, string message)
    {
        var bar = message.IndexOf('|', StringComparison.Ordinal);
        if (bar > 0)
        {
            return new(JsonPaths.ToPointer(path), message[..bar], message[(bar + 1)..]);
        }

        var code = message switch
        {
            _ when message.Contains("is required", StringComparison.Ordinal) => "required",
            _ when message.Contains("maximum length", StringComparison.Ordinal) => "wrong_length",
            _ when message.Contains("must be between", StringComparison.Ordinal) => "out_of_range",
            _ when message.Contains("must match the regular expression", StringComparison.Ordinal) => "wrong_format",
            _ => "invalid",
        };
        return new(JsonPaths.ToPointer(path), code, code switch
        {
            // The framework names the property of our code.
            "required" => "This field is required.",
            _ => message,
        });
    }
}

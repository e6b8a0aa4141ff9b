using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Hosting.Rights;
using Microsoft.AspNetCore.Http;

namespace Crm.Hosting.Web;

/// <summary>JSON merge patch, RFC 7396.</summary>
public static class MergePatch
{
    /// <summary>The body of a PATCH: <c>application/merge-patch+json</c> or <c>application/json</c>, an object.</summary>
    public static async Task<JsonObject> ReadAsync(HttpRequest request, CancellationToken ct)
    {
        var type = request.ContentType?.Split(';')[0].Trim();
        if (type is not ("application/merge-patch+json" or "application/json"))
        {
            throw new ProblemException(Contracts.ProblemCodes.UnsupportedMediaType, "Send the patch as application/merge-patch+json.");
        }

        try
        {
            return await JsonSerializer.DeserializeAsync<JsonObject>(request.Body, JsonDefaults.Options, ct)
                ?? throw ProblemException.Invalid(new FieldError("", "wrong_type", "A merge patch is an object."));
        }
        catch (JsonException exception)
        {
            throw Problems.DescribeJson(exception);
        }
    }

    /// <summary>The value with the patch applied: members of the patch replace, null removes, objects are merged.</summary>
    /// <exception cref="ProblemException">400; 403 <c>field_forbidden</c> for members that the caller may not write.</exception>
    public static T Apply<T>(T value, JsonObject patch)
    {
        FieldRules.RequireWritable<T>(patch);
        var target = JsonSerializer.SerializeToNode(value, JsonDefaults.Options)!.AsObject();
        Merge(target, patch);
        try
        {
            return target.Deserialize<T>(JsonDefaults.Options)!;
        }
        catch (JsonException exception)
        {
            throw Problems.DescribeJson(exception);
        }
    }

    private static void Merge(JsonObject target, JsonObject patch)
    {
        foreach (var (name, value) in patch)
        {
            if (value is null)
            {
                target.Remove(name);
            }
            else if (value is JsonObject nested)
            {
                if (target[name] is not JsonObject existing)
                {
                    existing = [];
                    target[name] = existing;
                }

                Merge(existing, nested);
            }
            else
            {
                target[name] = value.DeepClone();
            }
        }
    }
}

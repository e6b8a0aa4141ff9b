using System.Collections.Concurrent;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.Hosting.Rights;

/// <summary>
/// What <see cref="FieldGroupAttribute"/> means, in one place for every endpoint: answers are written and bodies are read
/// with the rights of the caller at hand.
/// </summary>
public static class FieldRules
{
    /// <summary>As <see cref="JsonDefaults.Options"/>, for the eyes of the caller.</summary>
    private static readonly JsonSerializerOptions Json = ForCaller(new(JsonDefaults.Options));

    private static readonly ConcurrentDictionary<Type, IReadOnlyDictionary<string, Member>> Known = new();

    /// <summary>Everything that these options write or read is written and read with the caller's rights.</summary>
    public static JsonSerializerOptions ForCaller(JsonSerializerOptions options)
    {
        options.TypeInfoResolver = options.TypeInfoResolver!.WithAddedModifier(Restrict);
        return options;
    }

    /// <summary>
    /// Every member of a patch must be writable, null too; masked values that come back are never stored. So must be the entries of a
    /// dictionary, by their names: whether a value is the present one would tell the value.
    /// </summary>
    /// <exception cref="ProblemException">403 <c>field_forbidden</c> with a pointer to each that is not.</exception>
    public static void RequireWritable<T>(JsonObject patch) => RequireWritable<T>(patch, CallerRights.Current);

    /// <summary>The same for somebody who asked earlier.</summary>
    /// <exception cref="ProblemException">403 <c>field_forbidden</c>.</exception>
    public static void RequireWritable<T>(JsonObject patch, CallerRights rights)
    {
        if (!rights.AllFields && Unwritable(typeof(T), patch, "", rights).ToList() is { Count: > 0 } errors)
        {
            throw Forbidden([.. errors]);
        }
    }

    /// <summary>A body that replaces a record: what the caller may not write, and so did not send, stays as it was.</summary>
    public static T Keep<T>(T before, T after)
    {
        var rights = CallerRights.Current;
        if (rights.AllFields)
        {
            return after;
        }

        var (old, now) = (JsonSerializer.SerializeToNode(before, JsonDefaults.Options)!.AsObject(), JsonSerializer.SerializeToNode(after, JsonDefaults.Options)!.AsObject());
        foreach (var (name, member) in MembersOf(typeof(T)))
        {
            if (member.Group is { } group && !rights.MayWrite(group))
            {
                now[name] = old[name]?.DeepClone();
            }
        }

        return now.Deserialize<T>(JsonDefaults.Options)!;
    }

    /// <summary>Members of a <typeparamref name="T"/> that are kept as JSON, such as old values: those that the caller may see, masked where it must be.</summary>
    public static JsonObject Show<T>(JsonObject members)
    {
        if (CallerRights.Current.AllFields)
        {
            return members;
        }

        var shown = JsonSerializer.SerializeToNode(members.Deserialize<T>(JsonDefaults.Options), Json)!.AsObject();
        return new(members.Where(m => shown.ContainsKey(m.Key)).Select(m => KeyValuePair.Create(m.Key, m.Value is null ? null : shown[m.Key]?.DeepClone())));
    }

    /// <summary>The group of a member by its name in JSON; null when everybody may see it.</summary>
    public static string? GroupOf<T>(string member) => MembersOf(typeof(T)).GetValueOrDefault(member)?.Group;

    /// <summary>403 <c>field_forbidden</c>.</summary>
    /// <param name="pointer">Where the request asks for more than the caller's roles reach.</param>
    public static ProblemException Forbidden(string pointer, string group) =>
        Forbidden(new FieldError(pointer, ProblemCodes.FieldForbidden.Code, $"The caller's roles do not reach {group} like that."));

    internal static ProblemException Forbidden(params IReadOnlyList<FieldError> errors) =>
        new(ProblemCodes.FieldForbidden, "The caller's roles do not reach these fields; see errors.", errors);

    internal static string? GroupOf(JsonPropertyInfo property) =>
        property.AttributeProvider?.GetCustomAttributes(typeof(FieldGroupAttribute), inherit: true) is [FieldGroupAttribute { Group: var group }, ..]
            ? group
            : FieldGroups.ByName.GetValueOrDefault(property.Name);

    private static void Restrict(JsonTypeInfo type)
    {
        foreach (var property in type.Kind == JsonTypeInfoKind.Object ? type.Properties : [])
        {
            if (GroupOf(property) is { } group)
            {
                Restrict(property, group);
            }
        }
    }

    private static void Restrict(JsonPropertyInfo property, string group)
    {
        var isText = property.PropertyType == typeof(string) || (property.PropertyType.IsGenericType && property.PropertyType.IsAssignableFrom(typeof(List<string>)));
        // What neither is text nor has members that are would come out as it is.
        var canBeMasked = isText || MembersOf(ElementOf(property.PropertyType)).Values.Any(m => m.Group == group);
        if (property.Get is { } get)
        {
            var also = property.ShouldSerialize;
            property.ShouldSerialize = (owner, value) => also?.Invoke(owner, value) is not false
                && (owner as IPartOfRecord)?.Granted?.Contains(group) is not false && CallerRights.Current.Read(group) switch
            {
                FieldAccess.Allow => true,
                FieldAccess.Mask => canBeMasked,
                _ => false,
            };
            if (property.PropertyType.IsAssignableFrom(typeof(Dictionary<string, JsonElement>)) && property.PropertyType != typeof(object))
            {
                property.Get = owner => get(owner) is IEnumerable<KeyValuePair<string, JsonElement>> entries ? CallerRights.Current.Shown(entries) : null;
            }

            if (isText)
            {
                property.Get = owner => CallerRights.Current.Read(group) == FieldAccess.Allow ? get(owner) : Masks.Of(get(owner));
            }
        }

        if (property.Set is { } set)
        {
            property.Set = (owner, value) =>
            {
                if (value is not null && !CallerRights.Current.MayWrite(group))
                {
                    throw new FieldForbiddenException();
                }

                set(owner, value);
            };
        }
    }

    private static IEnumerable<FieldError> Unwritable(Type type, JsonObject members, string path, CallerRights rights)
    {
        var known = MembersOf(type);
        foreach (var (name, value) in members)
        {
            if (known.GetValueOrDefault(name) is not { } member)
            {
                continue;
            }

            var pointer = $"{path}/{name}";
            if (member.Group is { } group && !rights.MayWrite(group))
            {
                yield return new(pointer, ProblemCodes.FieldForbidden.Code, $"The caller's roles do not write {group}.");
                continue;
            }

            if (member.Group is not null && member.Type == typeof(KeyValuePair<string, JsonElement>))
            {
                foreach (var (named, own) in rights.Unwritable(value))
                {
                    yield return new($"{pointer}/{named}", ProblemCodes.FieldForbidden.Code, $"The caller's roles do not write {own}.");
                }
            }

            var entries = value switch
            {
                JsonObject one => [(pointer, one)],
                JsonArray many => many.Select((entry, index) => ($"{pointer}/{index}", entry as JsonObject)).ToArray(),
                _ => [],
            };
            foreach (var error in entries.Where(e => e.Item2 is not null).SelectMany(e => Unwritable(member.Type, e.Item2!, e.Item1, rights)))
            {
                yield return error;
            }
        }
    }

    private static IReadOnlyDictionary<string, Member> MembersOf(Type type) => Known.GetOrAdd(type, static t =>
        JsonDefaults.Options.GetTypeInfo(t) is { Kind: JsonTypeInfoKind.Object } info
            ? info.Properties.ToDictionary(p => p.Name, p => new Member(GroupOf(p), ElementOf(p.PropertyType)), StringComparer.Ordinal)
            : new Dictionary<string, Member>(StringComparer.Ordinal));

    private static Type ElementOf(Type type) => type == typeof(string)
        ? type
        : type.GetInterfaces().Append(type).Where(i => i.IsGenericType && i.GetGenericTypeDefinition() == typeof(IEnumerable<>))
            .Select(i => i.GetGenericArguments()[0]).FirstOrDefault() ?? Nullable.GetUnderlyingType(type) ?? type;

    private sealed record Member(string? Group, Type Type);
}

/// <summary>A body has a member that the caller may not write; the reader adds where.</summary>
internal sealed class FieldForbiddenException() : JsonException;

using System.Collections.Concurrent;
using Crm.Contracts;
using Crm.Contracts.Rights.V1;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Core.Interceptors;

namespace Crm.Hosting.Rights;

/// <summary>The same over gRPC: what the option <c>field_group</c> of a proto field means.</summary>
internal sealed class GrpcFieldRules : Interceptor
{
    private static readonly ConcurrentDictionary<MessageDescriptor, IReadOnlyList<Field>> Known = new();

    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        var response = await continuation(request, context);
        var rights = CallerRights.Current;
        if (!rights.AllFields && response is IMessage message)
        {
            Restrict(message, rights.Read);
        }

        return response;
    }

    internal static void Restrict(IMessage message, Func<string, FieldAccess> read)
    {
        foreach (var field in FieldsOf(message.Descriptor))
        {
            switch (field.Group is { } group ? read(group) : FieldAccess.Allow)
            {
                case FieldAccess.Deny:
                case FieldAccess.Mask when !field.CanBeMasked:
                    field.Descriptor.Accessor.Clear(message);
                    break;
                case FieldAccess.Mask when field.Descriptor.FieldType == FieldType.String:
                    Mask(message, field.Descriptor);
                    break;
                default:
                    foreach (var nested in Nested(message, field.Descriptor))
                    {
                        Restrict(nested, read);
                    }

                    break;
            }
        }
    }

    private static void Mask(IMessage message, FieldDescriptor field)
    {
        if (field.IsRepeated)
        {
            var texts = (IList<string>)field.Accessor.GetValue(message);
            for (var i = 0; i < texts.Count; i++)
            {
                texts[i] = Masks.Text(texts[i])!;
            }
        }
        else
        {
            field.Accessor.SetValue(message, Masks.Text((string)field.Accessor.GetValue(message)));
        }
    }

    private static IEnumerable<IMessage> Nested(IMessage message, FieldDescriptor field) => field.FieldType != FieldType.Message ? []
        : field.IsMap ? ((System.Collections.IDictionary)field.Accessor.GetValue(message)).Values.OfType<IMessage>()
        : field.IsRepeated ? ((System.Collections.IEnumerable)field.Accessor.GetValue(message)).OfType<IMessage>()
        : field.Accessor.GetValue(message) is IMessage one ? [one] : [];

    private static IReadOnlyList<Field> FieldsOf(MessageDescriptor message) => Known.GetOrAdd(message, static m =>
        [.. m.Fields.InDeclarationOrder().Select(f => (Field: f, Group: GroupOf(f)))
            .Where(f => f.Group is not null || f.Field.FieldType == FieldType.Message)
            .Select(f => new Field(f.Field, f.Group,
                f.Field.FieldType == FieldType.String || (f.Field.FieldType == FieldType.Message && f.Field.MessageType.Fields.InDeclarationOrder().Any(n => GroupOf(n) == f.Group))))]);

    private static string? GroupOf(FieldDescriptor field) =>
        field.GetOptions() is { } options && options.HasExtension(RightsExtensions.FieldGroup) ? options.GetExtension(RightsExtensions.FieldGroup) : null;

    private sealed record Field(FieldDescriptor Descriptor, string? Group, bool CanBeMasked);
}

/// <summary>A message about a record of which the caller reaches the fields of some groups only.</summary>
public static class PartOfRecord
{
    /// <param name="granted">Null: the whole record.</param>
    public static T Within<T>(this T message, IReadOnlySet<string>? granted) where T : IMessage
    {
        if (granted is not null)
        {
            GrpcFieldRules.Restrict(message, group => granted.Contains(group) ? FieldAccess.Allow : FieldAccess.Deny);
        }

        return message;
    }
}

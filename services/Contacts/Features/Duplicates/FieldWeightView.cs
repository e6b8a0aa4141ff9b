using Crm.Contacts.Domain.Matching;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>One field's part in a score.</summary>
/// <param name="Level">How far it agreed, such as <c>exact</c>, <c>close</c>, <c>one_error</c> or <c>different</c>.</param>
/// <param name="Weight">In bits: positive speaks for one customer, negative for two.</param>
public sealed record FieldWeightView(MatchField Field, string Level, double Weight)
{
    internal static FieldWeightView Of(FieldWeight field) => new(field.Field, field.Level, Math.Round(field.Weight, 2));
}

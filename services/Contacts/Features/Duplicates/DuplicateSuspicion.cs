using Crm.Contacts.Domain.Duplicates;
using Crm.Contacts.Domain.Matching;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>409 <c>duplicate_suspected</c>: who the customer may be, and what speaks for it.</summary>
internal static class DuplicateSuspicion
{
    public static ProblemException Of(IReadOnlyList<Candidate> candidates, string detail) => new(
        ProblemCodes.DuplicateSuspected,
        detail,
        [.. candidates.SelectMany(c => c.Agreed).Distinct().Order().Select(field => new FieldError(Pointer(field), "duplicate_suspected"))])
    {
        Extensions = new Dictionary<string, object?> { ["candidates"] = candidates.Select(CandidateView.Of).ToList() },
    };

    private static string Pointer(MatchField field) => field switch
    {
        MatchField.GivenName => "/given_name",
        MatchField.FamilyName => "/family_name",
        MatchField.BirthDate => "/birth_date",
        MatchField.Address => "/addresses",
        MatchField.Email => "/emails",
        MatchField.Phone => "/phones",
        MatchField.ExternalId => "/external_ids",
        _ => "/name",
    };

    /// <param name="Agreed">The fields that speak for one customer.</param>
    internal sealed record CandidateView(
        string CustomerId, [property: FieldGroup(FieldGroups.Names)] string DisplayName, double Probability, double Weight, IReadOnlyList<MatchField> Agreed, IReadOnlyList<FieldEvidence> Fields)
    {
        public static CandidateView Of(Candidate candidate) => new(
            Ids.Customer.Format(candidate.Id), candidate.DisplayName, Math.Round(candidate.Score.Probability, 6), Math.Round(candidate.Score.Weight, 2),
            [.. candidate.Agreed], [.. candidate.Score.Fields.Select(FieldEvidence.Of)]);
    }
}

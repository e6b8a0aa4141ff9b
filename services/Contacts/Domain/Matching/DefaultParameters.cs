namespace Crm.Contacts.Domain.Matching;

/// <summary>Where estimation starts, and what stands where there is nothing to estimate from.</summary>
internal static class DefaultParameters
{
    public const double MatchesPerRecord = 0.05;

    private static readonly double[] StreetM = [1, 0.08, 0.04, 0.04, 0.06, 0.12, 0.66];
    private static readonly double[] StreetU = [1, 0.988, 0.008, 0.002, 0.0012, 0.0004, 0.0004];
    private static readonly double[] PlaceM = [1, 0.08, 0.08, 0.14, 0.7];
    private static readonly double[] PlaceU = [1, 0.97, 0.02, 0.005, 0.005];

    public static double[][] M(bool organization) =>
    [
        [1, 0.03, 0.02, 0.02, 0.07, 0.06, 0.785, 0.01, 0.005],
        [1, 0.04, 0.02, 0.07, 0.03, 0.84],
        [1, 0.03, 0.03, 0.06, 0.88],
        Address(StreetM, PlaceM),
        [1, 0.3, 0.03, 0.05, 0.62],
        [1, 0.3, 0.03, 0.67],
        [1, 0.3, 0.05, 0.65],
        organization ? [1, 0.02, 0.05, 0.08, 0.13, 0.15, 0.57] : [1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.5],
    ];

    public static double[][] U(bool organization) =>
    [
        [1, 0.961, 0.006, 0.015, 0.005, 0.003, 0.01, 0.000005, 0.0005],
        [1, 0.988, 0.008, 0.0015, 0.0005, 0.002],
        [1, 0.9949, 0.004, 0.001, 0.0001],
        Address(StreetU, PlaceU),
        [1, 0.9999, 0.00004, 0.00004, 0.000002],
        [1, 0.9998, 0.00005, 0.000005],
        [1, 0.9999, 0.00001, 0.000001],
        organization ? [1, 0.985, 0.01, 0.003, 0.0012, 0.0004, 0.0004] : [1, 0.9, 0.02, 0.02, 0.02, 0.02, 0.02],
    ];

    /// <summary>Where only one of street and place is known, the other's share is all of it.</summary>
    internal static double[] Address(double[] street, double[] place)
    {
        var cells = new double[Comparison.Streets * Comparison.Places];
        for (var s = 0; s < Comparison.Streets; s++)
        {
            for (var p = 0; p < Comparison.Places; p++)
            {
                cells[(s * Comparison.Places) + p] = street[s] * place[p];
            }
        }

        return cells;
    }
}

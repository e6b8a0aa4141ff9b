using Crm.Contacts.Domain.Matching;

namespace Contacts.Tests.Matching;

public sealed class StringDistanceTests
{
    [Theory]
    [InlineData("MARTHA", "MARHTA", 0.9444, 0.9611)]
    [InlineData("DWAYNE", "DUANE", 0.8222, 0.8400)]
    [InlineData("DIXON", "DICKSONX", 0.7667, 0.8133)]
    [InlineData("SHACKLEFORD", "SHACKELFORD", 0.9697, 0.9818)]
    [InlineData("NICHLESON", "NICHULSON", 0.9259, 0.9556)]
    [InlineData("MASSEY", "MASSIE", 0.8889, 0.9333)]
    [InlineData("JONES", "JOHNSON", 0.7905, 0.8324)]
    [InlineData("", "", 1, 1)]
    [InlineData("A", "", 0, 0)]
    [InlineData("AB", "CD", 0, 0)]
    public void Jaro_and_Winkler_give_the_figures_of_the_papers(string a, string b, double jaro, double jaroWinkler)
    {
        Assert.Equal(jaro, StringDistance.Jaro(a, b), 0.0005);
        Assert.Equal(jaroWinkler, StringDistance.JaroWinkler(a, b), 0.0005);
        Assert.Equal(StringDistance.JaroWinkler(a, b), StringDistance.JaroWinkler(b, a), 12);
    }

    [Theory]
    [InlineData("Ashcraft", "A261")]
    [InlineData("Tymczak", "T522")]
    [InlineData("Pfister", "P236")]
    [InlineData("Robert", "R163")]
    [InlineData("Honeyman", "H555")]
    [InlineData("Lee", "L000")]
    [InlineData("", "")]
    [InlineData("李", "")]
    public void Soundex_is_the_census_one(string name, string code) => Assert.Equal(code, StringDistance.Soundex(name));

    [Theory]
    [InlineData("smith", "smith", true)]
    [InlineData("smith", "smtih", true)]
    [InlineData("smith", "smit", true)]
    [InlineData("smith", "smiths", true)]
    [InlineData("smith", "smyth", true)]
    [InlineData("smith", "smythe", false)]
    [InlineData("ab", "ba", true)]
    [InlineData("abc", "cba", false)]
    [InlineData("", "a", true)]
    [InlineData("", "ab", false)]
    public void One_edit_is_an_insertion_a_deletion_a_substitution_or_neighbours_swapped(string a, string b, bool within)
    {
        Assert.Equal(within, StringDistance.WithinOneEdit(a, b));
        Assert.Equal(within, StringDistance.WithinOneEdit(b, a));
    }
}

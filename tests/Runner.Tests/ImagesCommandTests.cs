using Crm.Runner;
using Crm.Runner.Commands;

namespace Runner.Tests;

public sealed class ImagesCommandTests
{
    [Theory]
    [InlineData("", true)]
    [InlineData("--registry registry.example --push --tag 1.4.0", true)]
    [InlineData("--local-base --verify", true)]
    [InlineData("--verify", false)]
    [InlineData("--local-base --servers --registry registry.example:5000 --push --tag 1.4.0", true)]
    [InlineData("--local-base --servers --archive crm.tar --tag 1.4.0", true)]
    [InlineData("--local-base --servers --archive crm.tar --verify", true)]
    [InlineData("--local-base --archive crm.tar", true)]
    [InlineData("--verify --archive crm.tar", false)]
    public void The_programs_are_built_unless_those_that_are_there_are_to_be_verified(string arguments, bool build) =>
        Assert.Equal(build, ImagesCommand.Read(Split(arguments)).Build);

    [Fact]
    public void Servers_for_tests_are_made_alone() =>
        Assert.Equal((false, false), (ImagesCommand.Read(["--servers", "--local-base"]).Build, ImagesCommand.Read(["--servers", "--local-base"]).ForCluster));

    [Theory]
    [InlineData("--push")]
    [InlineData("--local-base --registry registry.example")]
    [InlineData("--local-base --base debian")]
    [InlineData("--archive crm.tar")]
    [InlineData("--archive")]
    [InlineData("--local-base --archive crm.tar --registry registry.example --push")]
    [InlineData("--servers")]
    [InlineData("--servers --registry registry.example --push")]
    [InlineData("--servers --local-base --verify")]
    public void What_does_not_go_together_is_refused(string arguments) =>
        Assert.Throws<RunnerException>(() => ImagesCommand.Read(Split(arguments)));

    private static string[] Split(string arguments) => arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries);
}

namespace Crm.Gateway.OpenApi;
internal static class OpenApiCommand
{
    public static Task<int> RunAsync(WebApplication app, string[] rest) => Task.FromResult(0);
}

using Crm.Contracts;
using Crm.Hosting.Rpc;
using Crm.Hosting.Web;
using Grpc.AspNetCore.Server;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace Crm.Hosting.Rights;

/// <summary>An operation that has not been declared to keep to the rows of its caller is closed to callers with a row filter.</summary>
public static class RowRules
{
    /// <summary>After authorization.</summary>
    public static void UseRowRules(this IApplicationBuilder app) => app.Use(CheckAsync);

    private static Task CheckAsync(HttpContext http, RequestDelegate next)
    {
        if (CallerRights.Current.Rows is null || http.GetEndpoint() is not RouteEndpoint endpoint)
        {
            return next(http);
        }

        var rpc = endpoint.Metadata.GetMetadata<GrpcMethodMetadata>()?.Method.FullName;
        var operation = rpc ?? (endpoint.Metadata.GetMetadata<ScopeMetadata>() is null ? null : endpoint.Metadata.GetMetadata<IEndpointNameMetadata>()?.EndpointName ?? "");
        if (operation is null || http.RequestServices.GetRequiredService<Policy>().KeepsToRows(operation))
        {
            return next(http);
        }

        if (rpc is not null)
        {
            GrpcServer.Deny(http, authenticated: true, scope: null);
            return Task.CompletedTask;
        }

        return Problems.WriteAsync(http, ProblemCodes.Forbidden, "A key with a row filter may not call this.");
    }
}

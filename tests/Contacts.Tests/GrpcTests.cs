using Grpc.Core;
using Wire = Crm.Contracts.Contacts.V1;

namespace Contacts.Tests;

public sealed class GrpcTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task A_customer_is_resolved_by_any_identifier()
    {
        var (email, external) = (NewEmail(), Unique());
        var phone = $"+4420{Random.Shared.Next(10_000_000, 99_999_999)}";
        var customer = await CreateAsync($$"""
            {"kind":"person","given_name":"Re","family_name":"Solve","emails":[{"address":"{{email}}"}],"phones":[{"number":"{{phone}}"}],
             "external_ids":[{"system":"shop","id":"{{external}}"}],"source":{"type":"enquiry"} }
            """);
        var requests = new[]
        {
            new Wire.ResolveCustomerRequest { Id = (string)customer["id"]! },
            new Wire.ResolveCustomerRequest { Email = email },
            new Wire.ResolveCustomerRequest { Phone = phone },
            new Wire.ResolveCustomerRequest { ExternalId = new() { System = "shop", Id = external } },
        };
        foreach (var request in requests)
        {
            var resolved = await Grpc().ResolveCustomerAsync(request, AsUser("customers:read"), cancellationToken: Ct);
            Assert.Equal((string)customer["id"]!, resolved.Snapshot.Id);
            Assert.Equal("Re Solve", resolved.Snapshot.DisplayName);
        }
    }

    [Fact]
    public async Task Errors_are_statuses_with_the_code_of_the_problem()
    {
        var missing = await Assert.ThrowsAsync<RpcException>(async () => await Grpc().GetCustomerAsync(new() { Id = "cus_00000000000000000000000000" }, AsUser("customers:read"), cancellationToken: Ct));
        Assert.Equal((StatusCode.NotFound, "not_found"), (missing.StatusCode, missing.Trailers.GetValue("crm-code")));
        var malformed = await Assert.ThrowsAsync<RpcException>(async () => await Grpc().GetCustomerAsync(new() { Id = "1" }, AsUser("customers:read"), cancellationToken: Ct));
        Assert.Equal(StatusCode.InvalidArgument, malformed.StatusCode);
        var anonymous = await Assert.ThrowsAsync<RpcException>(async () => await Grpc().GetCustomerAsync(new() { Id = "1" }, cancellationToken: Ct));
        Assert.Equal(StatusCode.Unauthenticated, anonymous.StatusCode);
        var scopeless = await Assert.ThrowsAsync<RpcException>(async () => await Grpc().GetCustomerAsync(new() { Id = "1" }, AsUser("billing:read"), cancellationToken: Ct));
        Assert.Equal(StatusCode.PermissionDenied, scopeless.StatusCode);
    }

    [Fact]
    public async Task No_user_may_stream_all_customers()
    {
        using var stream = Grpc().StreamCustomers(new(), AsUser([.. Crm.Contracts.Scopes.All]), cancellationToken: Ct);
        var refused = await Assert.ThrowsAsync<RpcException>(() => stream.ResponseStream.MoveNext(Ct));
        Assert.Equal(StatusCode.PermissionDenied, refused.StatusCode);
    }
}

using Crm.Contracts;
using Grpc.Core;

namespace Crm.Hosting.Rpc;

/// <summary>Ids as another service's request says them.</summary>
public static class GrpcIds
{
    /// <param name="what">Whose id it is to be, for the message.</param>
    /// <exception cref="RpcException">INVALID_ARGUMENT: it is not such an id.</exception>
    public static Guid Parse(IdKind kind, string id, string what) =>
        kind.TryParse(id, out var key) ? key : throw new RpcException(new Status(StatusCode.InvalidArgument, $"Not a {what} id."));
}

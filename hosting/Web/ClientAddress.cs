namespace Crm.Hosting.Web;

/// <summary>
/// The header in which the gateway tells a service where a request without credentials comes from. Nobody outside can
/// send it: the gateway forwards none of a caller's headers by this name.
/// </summary>
public static class ClientAddress
{
    public const string Header = "Crm-Client-Address";
}

using System.Text.Json;

namespace Crm.Hosting;

/// <summary>How events are written to the outbox and to the bus; golden files in Contracts.Tests guard it.</summary>
public static class EventJson
{
    public static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web);
}

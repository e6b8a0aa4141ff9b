namespace Crm.Hosting.Messaging;

/// <summary>The message that is being consumed, for every log record that is made meanwhile.</summary>
/// <param name="Id">Null when it has none; of a batch all ids, with commas between.</param>
internal sealed record ConsumedMessage(string? Id, string Queue)
{
    private static readonly AsyncLocal<ConsumedMessage?> Ambient = new();

    /// <summary>Set in an async method it holds until that one ends.</summary>
    public static ConsumedMessage? Current
    {
        get => Ambient.Value;
        set => Ambient.Value = value;
    }
}

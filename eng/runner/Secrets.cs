using System.Security.Cryptography;

namespace Crm.Runner;

public static class SecretText
{
    private const string Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    /// <summary>Random letters and digits; 43 of them carry 256 bits.</summary>
    public static string New(int length = 43) => RandomNumberGenerator.GetString(Letters, length);
}

/// <summary>Files that only their owner reads.</summary>
public static class SecretFile
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Written whole or not at all; untouched when it already says the same.</summary>
    public static async Task WriteAsync(string path, string text)
    {
        if (File.Exists(path) && await File.ReadAllTextAsync(path) == text)
            return;
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        var unfinished = path + ".unfinished";
        File.Delete(unfinished);
        await using (var file = new FileStream(unfinished, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = OwnerOnly }))
        await using (var writer = new StreamWriter(file))
        {
            await writer.WriteAsync(text);
        }

        File.Move(unfinished, path, overwrite: true);
    }

    /// <summary>The text of the file, made on the first call and kept.</summary>
    public static async Task<string> GetOrCreateAsync(string path, Func<string> create)
    {
        if (!File.Exists(path))
            await WriteAsync(path, create());
        return await File.ReadAllTextAsync(path);
    }
}

/// <summary>The secrets of one installation: made once, kept in files, one folder a service.</summary>
public sealed class SecretStore(string folder)
{
    public string TrustedKeys { get; } = Path.Combine(folder, "trusted-keys");

    public string FolderOf(string service) => Path.Combine(folder, "secrets", service);

    /// <summary>A password that is not handed to a service as it is.</summary>
    public Task<string> PasswordAsync(string name) =>
        SecretFile.GetOrCreateAsync(Path.Combine(folder, "secrets", "passwords", name), () => SecretText.New());

    public Task WriteAsync(string service, string name, string value) => SecretFile.WriteAsync(Path.Combine(FolderOf(service), name), value);

    /// <summary>The bootstrap key of the gateway; shaped so that leak scanners know it.</summary>
    public Task<string> AdminKeyAsync() =>
        SecretFile.GetOrCreateAsync(Path.Combine(FolderOf("gateway"), "Gateway__AdminKey"), () => "sk_live_" + SecretText.New());

    /// <summary>An ES256 key pair: the private half as the service's secret, the public half where all services look.</summary>
    public async Task CreateSigningKeyAsync(string service)
    {
        var privateKey = await SecretFile.GetOrCreateAsync(Path.Combine(FolderOf(service), "Auth__PrivateKey"), () =>
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            return key.ExportPkcs8PrivateKeyPem();
        });

        using var pair = ECDsa.Create();
        pair.ImportFromPem(privateKey);
        Directory.CreateDirectory(TrustedKeys);
        var path = Path.Combine(TrustedKeys, service + ".pem");
        var publicKey = pair.ExportSubjectPublicKeyInfoPem() + "\n";
        if (!File.Exists(path) || await File.ReadAllTextAsync(path) != publicKey)
            await File.WriteAllTextAsync(path, publicKey);
    }
}

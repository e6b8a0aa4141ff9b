using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Reflection;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace Crm.Hosting;

/// <summary>One thing that a program reads from its environment or its secrets.</summary>
/// <param name="Name">As a variable or file is named: <c>Bus__Prefetch</c>; in lists <c>__0</c> is any index, in dictionaries <c>__NAME</c> any key.</param>
/// <param name="Default">Empty when there is none.</param>
/// <param name="Required">The program does not start without it.</param>
public sealed record Setting(string Name, string Default = "", bool Required = false);

/// <summary>
/// Sections of the configuration, read into classes and checked when the program starts; and the list of all that a
/// program reads (<c>--settings</c>), so that manifests and documentation can be held against it.
/// </summary>
public static class Settings
{
    /// <summary>Reads a section into <typeparamref name="TOptions"/>; what is wrong in it keeps the program from starting.</summary>
    public static OptionsBuilder<TOptions> AddSettings<TOptions>(this IServiceCollection services, string section) where TOptions : class, new()
    {
        foreach (var setting in Of(section, typeof(TOptions), new TOptions()))
        {
            services.AddSetting(setting);
        }

        return services.AddOptions<TOptions>().BindConfiguration(section).ValidateDataAnnotations().ValidateOnStart();
    }

    /// <summary>A value that is read by its name.</summary>
    public static void AddSetting(this IServiceCollection services, Setting setting)
    {
        if (!services.HasSetting(setting.Name))
        {
            services.AddSingleton(setting);
        }
    }

    public static bool HasSetting(this IServiceCollection services, string name) =>
        services.Any(s => !s.IsKeyedService && s.ImplementationInstance is Setting known && known.Name == name);

    /// <summary>The command: a line each, name and default, or that it is required.</summary>
    internal static async Task<int> WriteAsync(IServiceProvider services, TextWriter output)
    {
        foreach (var setting in services.GetServices<Setting>().OrderBy(s => s.Name, StringComparer.Ordinal))
        {
            await output.WriteLineAsync($"{setting.Name}\t{(setting.Required ? "required" : setting.Default)}");
        }

        return 0;
    }

    /// <summary>What would keep the program from starting, as the start itself finds it; what is not set by the name that it is set by.</summary>
    internal static IReadOnlyList<string> FindProblems(IServiceProvider services)
    {
        var configuration = services.GetRequiredService<IConfiguration>();
        var problems = services.GetServices<Setting>().Where(s => s.Required && s.Default.Length == 0 && string.IsNullOrEmpty(configuration[s.Name.Replace("__", ":", StringComparison.Ordinal)]))
            .Select(s => s.Name).Order(StringComparer.Ordinal).Select(name => $"{name} is required and not set").ToList();
        try
        {
            services.GetService<IStartupValidator>()?.Validate();
        }
        catch (OptionsValidationException exception)
        {
            problems.AddRange(exception.Failures);
        }
        catch (AggregateException exception) when (exception.InnerExceptions.All(e => e is OptionsValidationException))
        {
            problems.AddRange(exception.InnerExceptions.Cast<OptionsValidationException>().SelectMany(e => e.Failures));
        }
        catch (InvalidOperationException exception)
        {
            // A value that is none of its type; the message names it.
            problems.Add(exception.Message);
        }

        return problems;
    }

    private static IEnumerable<Setting> Of(string prefix, Type type, object? instance)
    {
        foreach (var property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => p.SetMethod is { IsPublic: true }))
        {
            var name = $"{prefix}__{property.Name}";
            var value = instance is null ? null : property.GetValue(instance);
            var element = ElementOf(property.PropertyType);
            if (element is null)
            {
                yield return new(name, Text(value), property.IsDefined(typeof(RequiredAttribute)));
            }
            else if (property.PropertyType.Name.StartsWith("Dictionary", StringComparison.Ordinal))
            {
                yield return new($"{name}__NAME");
            }
            else if (IsPlain(element))
            {
                yield return new($"{name}__0", value is System.Collections.IEnumerable items ? string.Join(", ", items.Cast<object>().Select(Text)) : "");
            }
            else
            {
                // Required of each, but there may be none.
                foreach (var inner in Of($"{name}__0", element, Activator.CreateInstance(element)))
                {
                    yield return inner with { Required = false };
                }
            }
        }
    }

    private static Type? ElementOf(Type type) => type == typeof(string) ? null : type.GetInterfaces().Append(type)
        .FirstOrDefault(i => i.IsGenericType && i.GetGenericTypeDefinition() == typeof(IEnumerable<>))?.GetGenericArguments()[0];

    private static bool IsPlain(Type type) => type.IsPrimitive || type.IsEnum || type == typeof(string) || type == typeof(Uri) || type == typeof(TimeSpan);

    private static string Text(object? value) => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "";
}

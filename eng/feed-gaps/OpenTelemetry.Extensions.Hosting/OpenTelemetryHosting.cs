using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace OpenTelemetry
{
    public sealed class OpenTelemetryBuilder : IOpenTelemetryBuilder
    {
        internal OpenTelemetryBuilder(IServiceCollection services)
        {
            ArgumentNullException.ThrowIfNull(services);
            Services = services;
        }

        public IServiceCollection Services { get; }

        public OpenTelemetryBuilder ConfigureResource(Action<ResourceBuilder> configure)
        {
            OpenTelemetryBuilderSdkExtensions.ConfigureResource(this, configure);
            return this;
        }

        public OpenTelemetryBuilder WithMetrics() => WithMetrics(_ => { });

        public OpenTelemetryBuilder WithMetrics(Action<MeterProviderBuilder> configure)
        {
            OpenTelemetryBuilderSdkExtensions.WithMetrics(this, configure);
            return this;
        }

        public OpenTelemetryBuilder WithTracing() => WithTracing(_ => { });

        public OpenTelemetryBuilder WithTracing(Action<TracerProviderBuilder> configure)
        {
            OpenTelemetryBuilderSdkExtensions.WithTracing(this, configure);
            return this;
        }

        public OpenTelemetryBuilder WithLogging() => WithLogging(null, null);

        public OpenTelemetryBuilder WithLogging(Action<LoggerProviderBuilder> configure) => WithLogging(configure, null);

        public OpenTelemetryBuilder WithLogging(Action<LoggerProviderBuilder>? configureBuilder, Action<OpenTelemetryLoggerOptions>? configureOptions)
        {
            OpenTelemetryBuilderSdkExtensions.WithLogging(this, configureBuilder, configureOptions);
            return this;
        }
    }

    // The providers are made lazily by the container: somebody has to ask for them before the first span.
    internal sealed class TelemetryHostedService(IServiceProvider services) : IHostedService
    {
        public Task StartAsync(CancellationToken cancellationToken)
        {
            services.GetService<MeterProvider>();
            services.GetService<TracerProvider>();
            services.GetService<LoggerProvider>();
            return Task.CompletedTask;
        }

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}

namespace Microsoft.Extensions.DependencyInjection
{
    public static class OpenTelemetryServicesExtensions
    {
        /// <summary>Adds OpenTelemetry; called again, it adds to the same providers.</summary>
        public static OpenTelemetry.OpenTelemetryBuilder AddOpenTelemetry(this IServiceCollection services)
        {
            ArgumentNullException.ThrowIfNull(services);
            if (!services.Any(s => s.ServiceType == typeof(IHostedService) && s.ImplementationType == typeof(OpenTelemetry.TelemetryHostedService)))
            {
                // First, so that what other hosted services do at their start is seen.
                services.Insert(0, ServiceDescriptor.Singleton<IHostedService, OpenTelemetry.TelemetryHostedService>());
            }

            return new(services);
        }
    }
}

using System.Globalization;

namespace Crm.Runner.Bench;

/// <summary>The arithmetic of docs/capacity.md, which explains each figure and formula.</summary>
/// <param name="Customers">N</param>
/// <param name="Gateway">g, milliseconds of a core for a request of the mix; so are the four that follow.</param>
/// <param name="Services">s</param>
/// <param name="Postgres">p, all databases together.</param>
/// <param name="Contacts">p_c, of PostgreSQL what works for the database of Contacts.</param>
/// <param name="Broker">q</param>
/// <param name="Wal">W, bytes for a request of the mix.</param>
/// <param name="Deliveries">d, messages that consumers handled for a request of the mix.</param>
/// <param name="Changing">w, share of the requests that change something.</param>
/// <param name="PerCustomer">B, bytes on disk in all databases for a customer who has nothing but a record.</param>
/// <param name="PerChange">b, bytes on disk that a changing request adds in all databases.</param>
internal sealed record Capacity(
    int Customers, double Gateway, double Services, double Postgres, double Contacts, double Broker, double Wal, double Deliveries, double Changing, double PerCustomer, double PerChange)
{
    /// <summary>Requests that are made about a customer in a day, a; and what part of them falls in the busiest hour, h.</summary>
    private const double RequestsADay = 5, BusiestHour = 0.15;

    /// <summary>How far processors are used at the peak, u; the rest is for the loss of a node and for what comes in bursts.</summary>
    private const double Utilisation = 0.6;

    /// <summary>The largest that is sensibly had of what cannot be had twice: cores of a primary, cores of a broker, bytes a second of WAL.</summary>
    private const double PrimaryCores = 32, BrokerCores = 8, WalASecond = 200e6;

    private static readonly int[] Times = [1, 10, 100, 1_000];

    public string Inputs() => string.Create(CultureInfo.InvariantCulture, $"""
        | symbol | what | measured |
        |---|---|---|
        | N | customers | {Customers:n0} |
        | g | gateway, CPU ms a request | {Gateway:0.00} |
        | s | services, CPU ms a request | {Services:0.00} |
        | p | PostgreSQL, CPU ms a request | {Postgres:0.00} |
        | p_c | of p, the database of Contacts | {Contacts:0.00} |
        | q | RabbitMQ, CPU ms a request | {Broker:0.00} |
        | W | WAL a request | {Wal / 1000:0.0} kB |
        | d | messages handled a request | {Deliveries:0.00} |
        | w | requests that change something | {Changing:0%} |
        | B | disk a customer, all databases | {PerCustomer / 1000:0.0} kB |
        | b | disk a changing request, all databases | {PerChange / 1000:0.0} kB |
        """);

    public string Demand()
    {
        return string.Create(CultureInfo.InvariantCulture, $"""
            | | formula | {string.Join(" | ", Times.Select(t => string.Create(CultureInfo.InvariantCulture, $"{t:n0} ×")))} |
            |---|---|{string.Concat(Times.Select(_ => "---|"))}
            {Row("customers", "n = N × times", t => $"{Customers * (double)t:n0}")}
            {Row("requests a second at the peak, R", "n × a × h / 3,600", t => $"{Rate(t):n0}")}
            {Row("cores: gateway", "R × g / 1,000 / u", t => $"{Cores(t, Gateway):n1}")}
            {Row("cores: five services", "R × s / 1,000 / u", t => $"{Cores(t, Services):n1}")}
            {Row("cores: PostgreSQL of Contacts", "R × p_c / 1,000 / u", t => $"{Cores(t, Contacts):n1}")}
            {Row("cores: the other PostgreSQLs", "R × (p − p_c) / 1,000 / u", t => $"{Cores(t, Postgres - Contacts):n1}")}
            {Row("cores: RabbitMQ", "R × q / 1,000 / u", t => $"{Cores(t, Broker):n1}")}
            {Row("messages handled a second", "R × d", t => $"{Rate(t) * Deliveries:n0}")}
            {Row("WAL a second", "R × W", t => $"{Rate(t) * Wal / 1e6:n1} MB")}
            {Row("disk at the start", "n × B", t => $"{Customers * (double)t * PerCustomer / 1e9:n1} GB")}
            {Row("disk more in a year", "n × a × 365 × w × b", t => $"{Customers * (double)t * RequestsADay * 365 * Changing * PerChange / 1e9:n0} GB")}

            | gives way first | largest | at R = |
            |---|---|---|
            {string.Join('\n', new (string What, string Largest, double Rate)[]
            {
                ("primary of Contacts, cores", $"{PrimaryCores:0} cores: {PrimaryCores:0} × u × 1,000 / p_c", PrimaryCores * Utilisation * 1000 / Contacts),
                ("broker, cores", $"{BrokerCores:0} cores: {BrokerCores:0} × u × 1,000 / q", BrokerCores * Utilisation * 1000 / Broker),
                ("one cluster for all six databases, WAL", $"{WalASecond / 1e6:0} MB/s: 200,000 kB / W", WalASecond / Wal),
                ("one cluster for all six databases, cores", $"{PrimaryCores:0} cores: {PrimaryCores:0} × u × 1,000 / p", PrimaryCores * Utilisation * 1000 / Postgres),
            }.OrderBy(l => l.Rate).Select(l => string.Create(CultureInfo.InvariantCulture, $"| {l.What} | {l.Largest} | {l.Rate:n0} |")))}
            """);

        static string Row(string what, string formula, Func<int, FormattableString> value) => $"| {what} | {formula} | {string.Join(" | ", Times.Select(t => value(t).ToString(CultureInfo.InvariantCulture)))} |";
    }

    private double Cores(int times, double milliseconds) => Rate(times) * milliseconds / 1000 / Utilisation;

    private double Rate(int times) => Customers * (double)times * RequestsADay * BusiestHour / 3600;
}

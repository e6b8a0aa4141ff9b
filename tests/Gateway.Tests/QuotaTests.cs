using System.Text.RegularExpressions;
using Crm.Runner;

namespace Gateway.Tests;

public sealed class QuotaTests(GatewayFixture gateway)
{
    [Fact]
    public async Task Two_replicas_share_one_quota()
    {
        const int Limit = 200;
        var answers = await InOneMinuteAsync(() => gateway.CreateKeyAsync(requestsPerMinute: Limit), async key =>
        {
            using var a = gateway.Client(key.Secret, gateway.A);
            using var b = gateway.Client(key.Secret, gateway.B);
            var all = new List<HttpResponseMessage>();
            await Parallel.ForEachAsync(Enumerable.Range(0, 10 * Limit), new ParallelOptions { MaxDegreeOfParallelism = 16 }, async (i, ct) =>
            {
                var answer = await (i % 2 == 0 ? a : b).GetAsync("v1/customers", ct);
                lock (all)
                {
                    all.Add(answer);
                }
            });
            return all;
        });

        var admitted = answers.Count(r => (int)r.StatusCode == 200);
        Assert.InRange(admitted, (int)(0.9 * Limit), (int)(1.1 * Limit));
        Assert.Equal(10 * Limit - admitted, answers.Count(r => (int)r.StatusCode == 429));
        Assert.All(answers, r =>
        {
            Assert.Equal($"\"default\";q={Limit};w=60", r.Headers.GetValues("RateLimit-Policy").Single());
            Assert.Matches("^\"default\";r=[0-9]+;t=[0-9]+$", r.Headers.GetValues("RateLimit").Single());
        });

        var refused = answers.First(r => (int)r.StatusCode == 429);
        var problem = await refused.ProblemAsync(429, "rate_limited");
        Assert.Equal("default", problem.GetProperty("policy").GetString());
        Assert.True(problem.GetProperty("retryable").GetBoolean());
        Assert.InRange(refused.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 60);
        Assert.StartsWith("\"default\";r=0;", refused.Headers.GetValues("RateLimit").Single(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_left_goes_down_by_one_and_the_default_is_600()
    {
        var left = await InOneMinuteAsync(() => gateway.CreateKeyAsync(requestsPerMinute: null), async key =>
        {
            using var client = gateway.Client(key.Secret);
            var counts = new List<int>();
            for (var i = 0; i < 100; i++)
            {
                using var answer = await client.GetAsync("v1/customers");
                Assert.Equal("\"default\";q=600;w=60", answer.Headers.GetValues("RateLimit-Policy").Single());
                counts.Add(int.Parse(Regex.Match(answer.Headers.GetValues("RateLimit").Single(), "r=([0-9]+)").Groups[1].Value));
            }

            return counts;
        });

        Assert.Equal(Enumerable.Range(0, 100).Select(i => 599 - i), left);
    }

    [Fact]
    public async Task Who_has_no_credentials_is_limited_by_address_and_who_has_is_not()
    {
        var (address, statuses) = await InOneMinuteAsync(
            () => gateway.StartGatewayAsync(gateway.ConnectionString, gateway.AdminKey, ("Gateway__AnonymousRequestsPerMinute", "20")),
            async replica =>
            {
                using var stranger = gateway.Client("sk_live_" + SecretText.New(), replica.Address);
                var all = new List<int>();
                for (var i = 0; i < 40; i++)
                {
                    using var answer = await stranger.GetAsync("v1/customers");
                    all.Add((int)answer.StatusCode);
                }

                return (replica.Address, all);
            });

        Assert.Equal(20, statuses.Count(s => s == 429));
        Assert.Equal(401, statuses[0]);
        using var admin = gateway.Admin(address);
        await (await admin.GetAsync("v1/customers")).OkAsync();
        using var nobody = gateway.Client(null, address);
        Assert.Equal(200, (int)(await nobody.GetAsync(".well-known/jwks.json")).StatusCode);
        Assert.Equal(200, (int)(await nobody.GetAsync("health/ready")).StatusCode);
    }

    [Fact]
    public async Task The_links_of_mails_have_a_limit_of_their_own_because_a_mailbox_provider_presses_them_for_all_its_users()
    {
        var (statuses, other) = await InOneMinuteAsync(
            () => gateway.StartGatewayAsync(
                gateway.ConnectionString, gateway.AdminKey, ("Gateway__AnonymousRequestsPerMinute", "5"), ("Gateway__LinkRequestsPerMinute", "20")),
            async replica =>
            {
                using var provider = gateway.Client(null, replica.Address);
                var all = new List<int>();
                for (var i = 0; i < 30; i++)
                {
                    using var answer = await provider.PostAsync(new Uri("u/" + SecretText.New(), UriKind.Relative), null);
                    all.Add((int)answer.StatusCode);
                    Assert.Equal("\"links\";q=20;w=60", answer.Headers.GetValues("RateLimit-Policy").Single());
                }

                using var elsewhere = await provider.GetAsync("v1/customers");
                return (all, elsewhere.Headers.GetValues("RateLimit").Single());
            });

        Assert.Equal(10, statuses.Count(s => s == 429));
        Assert.Equal("\"anonymous\";r=4", other.Split(";t=")[0]);
    }

    /// <summary>
    /// What is counted must not meet the end of the minute: when it did, on a machine that is slow, it is counted again, for a
    /// caller of whom nothing was counted yet.
    /// </summary>
    private static async Task<TCounts> InOneMinuteAsync<TCaller, TCounts>(Func<Task<TCaller>> prepare, Func<TCaller, Task<TCounts>> count)
    {
        for (var attempt = 1; ; attempt++)
        {
            var caller = await prepare();
            if (DateTime.UtcNow.Second > 45)
            {
                await Task.Delay(TimeSpan.FromSeconds(60.2 - DateTime.UtcNow.Second));
            }

            var minute = Minute();
            var counts = await count(caller);
            if (Minute() == minute)
            {
                return counts;
            }

            Assert.True(attempt < 5, "The minute was over before everything was counted, five times.");
        }

        static long Minute() => DateTimeOffset.UtcNow.ToUnixTimeSeconds() / 60;
    }
}

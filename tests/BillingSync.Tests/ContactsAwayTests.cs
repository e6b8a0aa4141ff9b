using System.Net;
using System.Net.Sockets;

namespace BillingSync.Tests;

/// <summary>Stops Contacts, so nothing else may run beside it.</summary>
[CollectionDefinition(nameof(ContactsAwayTests), DisableParallelization = true)]
[Collection(nameof(ContactsAwayTests))]
public sealed class ContactsAwayTests(BillingFixture fixture)
{
    [Fact]
    public async Task Known_customers_are_billed_while_Contacts_is_away_and_unknown_ones_are_asked_to_wait()
    {
        var customer = await fixture.CreateCustomerAsync();
        await fixture.Billing.PutAsync(Http.NewPath("orders"), OrderTests.Order(customer));
        await fixture.Platform["contacts"].KillAsync();
        try
        {
            await fixture.Billing.PutAsync(Http.NewPath("orders"), OrderTests.Order(customer));
            await fixture.Billing.GetJsonAsync($"/v1/customers/{customer}/account");
            using var response = await fixture.Billing.SendAsync(HttpMethod.Put, Http.NewPath("orders"), OrderTests.Order("cus_00000000000000000000000000"));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
            Assert.NotNull(response.Headers.RetryAfter);
            Assert.Equal("unavailable", (string?)(await response.BodyAsync())["code"]);
        }
        finally
        {
            await fixture.Platform["contacts"].StartAsync();
        }
    }

    [Fact]
    public async Task While_Contacts_takes_no_connection_unknown_customers_are_asked_to_wait_too()
    {
        var address = fixture.Platform["contacts"].GrpcAddress!;
        await fixture.Platform["contacts"].KillAsync();
        var waiting = new List<Socket>();
        try
        {
            using var nobody = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            for (var bound = false; !bound;)
            {
                try
                {
                    nobody.Bind(new IPEndPoint(IPAddress.Loopback, address.Port));
                    bound = true;
                }
                // The killed one has it for a moment yet.
                catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
                {
                    await Task.Delay(50, TestContext.Current.CancellationToken);
                }
            }

            nobody.Listen(0);
            // Whoever is not in the queue of those that nobody accepts hears nothing.
            for (var queued = true; queued;)
            {
                waiting.Add(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
                var connecting = waiting[^1].ConnectAsync(IPAddress.Loopback, address.Port, TestContext.Current.CancellationToken).AsTask();
                queued = await Task.WhenAny(connecting, Task.Delay(1000, TestContext.Current.CancellationToken)) == connecting;
            }

            using var response = await fixture.Billing.SendAsync(HttpMethod.Put, Http.NewPath("orders"), OrderTests.Order("cus_00000000000000000000000000"));
            Assert.Equal((HttpStatusCode.ServiceUnavailable, "unavailable"), (response.StatusCode, (string?)(await response.BodyAsync())["code"]));
        }
        finally
        {
            waiting.ForEach(s => s.Dispose());
            await fixture.Platform["contacts"].StartAsync();
        }
    }
}

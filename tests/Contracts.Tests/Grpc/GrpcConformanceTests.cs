using System.Text.Json;

namespace Contracts.Tests.Grpc;

/// <summary>What @grpc/grpc-js, and bare HTTP/2 below it, sees of a running server with the hosting defaults. Status codes are the numbers of the protocol.</summary>
public sealed class GrpcConformanceTests(ConformanceRun run) : IClassFixture<ConformanceRun>
{
    private const int Ok = 0, Cancelled = 1, InvalidArgument = 3, DeadlineExceeded = 4, PermissionDenied = 7, ResourceExhausted = 8,
        FailedPrecondition = 9, Aborted = 10, Unimplemented = 12, Internal = 13, Unauthenticated = 16;

    [Fact]
    public void A_unary_call_is_answered_with_its_text_in_any_script()
    {
        var result = Case("unary", Ok);
        Assert.Equal("Grüße, 世界", result.GetProperty("reply").GetProperty("text").GetString());
    }

    [Fact]
    public void A_server_stream_delivers_every_message_in_order_and_then_its_trailers()
    {
        var result = Case("server streaming", Ok);
        Assert.Equal(1000, result.GetProperty("values").GetInt32());
        Assert.True(result.GetProperty("inOrder").GetBoolean());
        Assert.Equal("1000", Text(result, "trailers", "counted"));
    }

    [Fact]
    public void A_client_stream_is_read_to_its_end()
    {
        Assert.Equal(5050, Case("client streaming", Ok).GetProperty("reply").GetProperty("value").GetInt32());
    }

    [Fact]
    public void Both_directions_of_a_stream_are_open_at_once()
    {
        Assert.Equal(10, Case("bidirectional streaming", Ok).GetProperty("replies").GetArrayLength());
    }

    [Theory]
    [InlineData("cancelled unary")]
    [InlineData("cancelled stream")]
    public void The_server_sees_that_the_client_has_cancelled(string name)
    {
        Assert.Equal("cancelled", Case(name, Cancelled).GetProperty("server").GetString());
    }

    [Fact]
    public void A_call_over_its_deadline_ends_on_both_sides()
    {
        var result = Case("deadline", DeadlineExceeded);
        Assert.InRange(result.GetProperty("elapsed").GetInt32(), 350, 5000);
        // Whichever comes first, its own clock or the client's reset.
        Assert.Contains(result.GetProperty("server").GetString(), new[] { "deadline", "cancelled" });
    }

    [Fact]
    public void The_server_knows_the_deadline_of_the_client()
    {
        var left = Case("deadline on the server", Ok).GetProperty("reply").GetProperty("deadlineInMs").GetInt32();
        Assert.InRange(left, 1, 10000);
    }

    [Fact]
    public void The_server_itself_answers_that_the_deadline_is_over()
    {
        Assert.Equal("deadline", Case("deadline without a client", DeadlineExceeded).GetProperty("server").GetString());
    }

    [Fact]
    public void An_error_carries_its_status_its_detail_and_its_trailers()
    {
        var result = Case("status with detail", FailedPrecondition);
        Assert.Equal("Nicht möglich: 100 % voll", result.GetProperty("detail").GetString());
        Assert.Equal("asked-for", Text(result, "trailers", "reason"));
        Assert.Equal("0001feff", Text(result, "trailers", "reason-bin"));
    }

    [Fact]
    public void A_stream_that_fails_has_delivered_what_came_before()
    {
        var result = Case("status in the middle of a stream", Aborted);
        Assert.Equal([1, 2, 3], result.GetProperty("values").EnumerateArray().Select(v => v.GetInt32()));
        Assert.Equal("lost the race", result.GetProperty("detail").GetString());
        Assert.Equal("0001feff", Text(result, "trailers", "reason-bin"));
    }

    [Fact]
    public void An_unexpected_exception_is_internal_and_its_message_stays_on_the_server()
    {
        var result = Case("unexpected exception", Internal);
        Assert.DoesNotContain("hunter2", result.GetRawText(), StringComparison.Ordinal);
        Assert.Equal("internal_error", Text(result, "trailers", "crm-code"));
        Assert.Equal(32, Text(result, "trailers", "crm-trace-id")?.Length);
    }

    [Theory]
    [InlineData("headers", "echo-")]
    [InlineData("trailers", "trailing-")]
    public void Metadata_comes_back_in_headers_and_trailers_binary_too(string part, string prefix)
    {
        var result = Case("metadata", Ok);
        Assert.Equal("value one", Text(result, part, prefix + "x-text"));
        Assert.Equal("Case", Text(result, part, prefix + "x-upper"));
        Assert.Equal("000102fdfeff", Text(result, part, prefix + "x-data-bin"));
    }

    [Fact]
    public void A_gzip_request_is_understood()
    {
        var result = Case("gzip request", Ok);
        Assert.Equal("gzip", result.GetProperty("requestEncoding").GetString());
        Assert.True(result.GetProperty("intact").GetBoolean());
    }

    [Fact]
    public void An_answer_is_gzipped_for_a_client_that_takes_it()
    {
        var result = Case("gzip response", Ok);
        Assert.Equal("gzip", result.GetProperty("encoding").GetString());
        Assert.Equal(1, result.GetProperty("compressed").GetInt32());
        Assert.True(result.GetProperty("intact").GetBoolean());
        Assert.True(result.GetProperty("bytes").GetInt32() < result.GetProperty("original").GetInt32() / 10);
    }

    [Fact]
    public void An_answer_is_not_compressed_for_a_client_that_does_not_take_it()
    {
        Assert.Equal(0, Case("uncompressed when not asked", Ok).GetProperty("compressed").GetInt32());
    }

    [Fact]
    public void An_unknown_compression_is_unimplemented_and_the_known_ones_are_named()
    {
        Assert.Contains("gzip", Case("unknown request encoding", Unimplemented).GetProperty("accepts").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_message_of_3_MB_arrives_whole_in_both_directions()
    {
        Assert.True(Case("3 MB", Ok).GetProperty("intact").GetBoolean());
    }

    [Theory]
    [InlineData("over 4 MB")]
    [InlineData("over 4 MB after decompression")]
    public void A_message_over_4_MB_is_refused(string name) => Case(name, ResourceExhausted);

    [Theory]
    [InlineData("unknown method")]
    [InlineData("unknown service")]
    public void What_is_not_there_is_unimplemented(string name)
    {
        Assert.Equal(200, Case(name, Unimplemented).GetProperty("http").GetInt32());
    }

    [Fact]
    public void A_method_that_nobody_has_allowed_is_denied()
    {
        var result = Case("method not written", PermissionDenied);
        Assert.Equal("forbidden", Text(result, "trailers", "crm-code"));
    }

    [Theory]
    [InlineData("no token")]
    [InlineData("forged token")]
    [InlineData("expired token")]
    [InlineData("token in the name of another")]
    [InlineData("token of a user by a service")]
    [InlineData("token without a signature")]
    public void A_caller_without_a_valid_token_is_unauthenticated(string name)
    {
        var result = Case(name, Unauthenticated);
        Assert.Equal("unauthenticated", Text(result, "trailers", "crm-code"));
        Assert.DoesNotContain("HTTP status", result.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_service_that_the_method_does_not_name_is_denied() => Case("service that may not call", PermissionDenied);

    [Fact]
    public void A_message_that_cannot_be_read_is_an_invalid_argument() => Case("malformed message", InvalidArgument);

    private static string? Text(JsonElement result, string part, string key) =>
        result.GetProperty(part).TryGetProperty(key, out var value) ? value.GetString() : null;

    private JsonElement Case(string name, int code)
    {
        var result = run.Result(name);
        var status = result.GetProperty("code");
        Assert.True(status.ValueKind == JsonValueKind.Number && status.GetInt32() == code, $"{result.GetRawText()}\nserver:\n{run.ServerLog}");
        return result;
    }
}

namespace Crm.Contracts;

/// <summary>One stable error code: its HTTP status, title, and whether the same request may succeed later.</summary>
public sealed record ProblemCode(string Code, int Status, string Title, bool Retryable = false);

/// <summary>Every code that a problem response (RFC 9457) can carry. Codes are never renamed.</summary>
public static class ProblemCodes
{
    public static readonly ProblemCode CustomerMerged = new("customer_merged", 308, "The customer was merged; Location names the survivor");
    public static readonly ProblemCode BadRequest = new("bad_request", 400, "The request is malformed");
    public static readonly ProblemCode MalformedJson = new("malformed_json", 400, "The body is not the JSON that is expected here");
    public static readonly ProblemCode ValidationFailed = new("validation_failed", 400, "Some fields are not valid");
    public static readonly ProblemCode UnknownParameter = new("unknown_parameter", 400, "A query parameter is not known here");
    public static readonly ProblemCode InvalidParameter = new("invalid_parameter", 400, "A query parameter has a wrong value");
    public static readonly ProblemCode Unauthenticated = new("unauthenticated", 401, "No valid credentials");
    public static readonly ProblemCode Forbidden = new("forbidden", 403, "Not allowed");
    public static readonly ProblemCode InsufficientScope = new("insufficient_scope", 403, "The key or token lacks a scope");
    public static readonly ProblemCode FieldForbidden = new("field_forbidden", 403, "A role of the caller does not reach this field");
    public static readonly ProblemCode DepartmentForbidden = new("department_forbidden", 403, "The record belongs to another department");
    public static readonly ProblemCode NotFound = new("not_found", 404, "There is no such resource");
    public static readonly ProblemCode MethodNotAllowed = new("method_not_allowed", 405, "The method is not allowed here");
    public static readonly ProblemCode NotAcceptable = new("not_acceptable", 406, "No representation of that type");
    public static readonly ProblemCode Timeout = new("request_timeout", 408, "The request took too long to arrive", Retryable: true);
    public static readonly ProblemCode Conflict = new("conflict", 409, "The request conflicts with the present state");
    public static readonly ProblemCode AlreadyExists = new("already_exists", 409, "The external id belongs to a record already");
    public static readonly ProblemCode ValueTaken = new("value_taken", 409, "The value of a unique field belongs to another customer");
    public static readonly ProblemCode DuplicateSuspected = new("duplicate_suspected", 409, "The customer may exist already");
    public static readonly ProblemCode ConcurrentChange = new("concurrent_change", 409, "Somebody else changed the record meanwhile", Retryable: true);
    public static readonly ProblemCode MergeIntoItself = new("merge_into_itself", 409, "A customer cannot be merged into itself");
    public static readonly ProblemCode TwoPayingAccounts = new("two_paying_accounts", 409, "Two of the customers pay in the same billing source");
    public static readonly ProblemCode PreviewOutdated = new("preview_outdated", 409, "A customer changed since the preview; preview again");
    public static readonly ProblemCode MergeUndoExpired = new("merge_undo_expired", 409, "The merge is too old to be undone");
    public static readonly ProblemCode MergeErased = new("merge_erased", 409, "A customer of the merge was erased, so it cannot be undone");
    public static readonly ProblemCode MergeRunning = new("merge_running", 409, "A merge of the customer is not completed yet", Retryable: true);
    public static readonly ProblemCode InRecycleBin = new("in_recycle_bin", 409, "The external id belongs to a customer in the recycle bin");
    public static readonly ProblemCode ChangeRequestOutdated = new("change_request_outdated", 409, "The fields were changed since the change was asked for");
    public static readonly ProblemCode LegalHold = new("legal_hold", 409, "A legal hold forbids it");
    public static readonly ProblemCode IdempotencyInProgress = new("idempotency_in_progress", 409, "The first request under this key is still running", Retryable: true);
    public static readonly ProblemCode Gone = new("gone", 410, "The resource is gone for good");
    public static readonly ProblemCode Erased = new("erased", 410, "The customer was erased");
    public static readonly ProblemCode CustomerDeleted = new("customer_deleted", 410, "The customer is in the recycle bin");
    public static readonly ProblemCode StaleVersion = new("stale_version", 412, "If-Match names an older version");
    public static readonly ProblemCode BodyTooLarge = new("body_too_large", 413, "The body is too large");
    public static readonly ProblemCode UriTooLong = new("uri_too_long", 414, "The address is too long");
    public static readonly ProblemCode UnsupportedMediaType = new("unsupported_media_type", 415, "The content type is not accepted here");
    public static readonly ProblemCode Unprocessable = new("unprocessable", 422, "The request cannot be carried out");
    public static readonly ProblemCode UnknownCustomer = new("unknown_customer", 422, "The customer named does not exist");
    public static readonly ProblemCode UnknownReference = new("unknown_reference", 422, "A record named in the body does not exist");
    public static readonly ProblemCode IdempotencyMismatch = new("idempotency_mismatch", 422, "The key was used with another body");
    public static readonly ProblemCode PreconditionRequired = new("precondition_required", 428, "If-Match is required");
    public static readonly ProblemCode RateLimited = new("rate_limited", 429, "Too many requests", Retryable: true);
    public static readonly ProblemCode HeadersTooLarge = new("headers_too_large", 431, "The headers are too large");
    public static readonly ProblemCode InternalError = new("internal_error", 500, "Something failed on our side", Retryable: true);
    public static readonly ProblemCode BadGateway = new("bad_gateway", 502, "A service gave no usable answer", Retryable: true);
    public static readonly ProblemCode Unavailable = new("unavailable", 503, "A part of the platform cannot be reached", Retryable: true);
    public static readonly ProblemCode GatewayTimeout = new("gateway_timeout", 504, "A service took too long", Retryable: true);

    public static readonly IReadOnlyList<ProblemCode> All =
    [
        CustomerMerged, BadRequest, MalformedJson, ValidationFailed, UnknownParameter, InvalidParameter, Unauthenticated, Forbidden, InsufficientScope, FieldForbidden, DepartmentForbidden,
        NotFound, MethodNotAllowed, NotAcceptable, Timeout, Conflict, AlreadyExists, ValueTaken, DuplicateSuspected, ConcurrentChange,
        MergeIntoItself, TwoPayingAccounts, PreviewOutdated, MergeUndoExpired, MergeErased, MergeRunning, InRecycleBin, ChangeRequestOutdated, LegalHold, IdempotencyInProgress, Gone, Erased, CustomerDeleted, StaleVersion, BodyTooLarge, UriTooLong, UnsupportedMediaType, Unprocessable, UnknownCustomer,
        UnknownReference, IdempotencyMismatch, PreconditionRequired, RateLimited, HeadersTooLarge, InternalError, BadGateway,
        Unavailable, GatewayTimeout,
    ];

    /// <summary>The general code of a status that was set without one.</summary>
    public static ProblemCode OfStatus(int status) => All.FirstOrDefault(c => c.Status == status)
        ?? (status >= 500 ? InternalError : BadRequest);
}

import pytest

from exporter.targets.salesforce.codes import RULES, Verdict, Where, classify

CONFIGURATION, TRANSIENT, QUOTA, SESSION = (
    Verdict.CONFIGURATION,
    Verdict.TRANSIENT,
    Verdict.QUOTA,
    Verdict.SESSION,
)
LOGIN, CALL, BATCH, ROW = Where.LOGIN, Where.CALL, Where.BATCH, Where.ROW

ERRORS = [
    (LOGIN, "invalid_client_id", "client identifier invalid", CONFIGURATION),
    (LOGIN, "invalid_client", "invalid client credentials", CONFIGURATION),
    (LOGIN, "invalid_grant", "no client credentials user enabled", CONFIGURATION),
    (LOGIN, "invalid_grant", "request not supported on this domain", CONFIGURATION),
    (LOGIN, "invalid_grant", "expired access/refresh token", CONFIGURATION),
    (LOGIN, "invalid_grant", "authentication failure", CONFIGURATION),
    (LOGIN, "invalid_grant", "user hasn't approved this consumer", CONFIGURATION),
    (LOGIN, "invalid_grant", "Audience validation failed", CONFIGURATION),
    (LOGIN, "invalid_grant", "ip restricted", CONFIGURATION),
    (LOGIN, "invalid_grant", "login rate exceeded", TRANSIENT),
    (LOGIN, "invalid_grant", "something new", CONFIGURATION),
    (LOGIN, "unsupported_grant_type", "grant type not supported", CONFIGURATION),
    (LOGIN, "unauthorized_client", "unauthorized client", CONFIGURATION),
    (LOGIN, "invalid_app_access", "user is not admin approved to access this app", CONFIGURATION),
    (LOGIN, "inactive_user", "user is inactive", CONFIGURATION),
    (LOGIN, "inactive_org", "organization is inactive", CONFIGURATION),
    (LOGIN, "rate_limit_exceeded", "too many logins", TRANSIENT),
    (LOGIN, "server_error", "", TRANSIENT),
    (LOGIN, "temporarily_unavailable", "", TRANSIENT),
    (LOGIN, "unknown_error", "retry your request", TRANSIENT),
    (LOGIN, "INVALID_LOGIN", "Invalid username, password, security token; or user locked out.", CONFIGURATION),
    (LOGIN, "LOGIN_MUST_USE_SECURITY_TOKEN", "Invalid username, password, security token", CONFIGURATION),
    (LOGIN, "PASSWORD_LOCKOUT", "", CONFIGURATION),
    (LOGIN, "INVALID_OPERATION_WITH_EXPIRED_PASSWORD", "The users password has expired", CONFIGURATION),
    (LOGIN, "API_DISABLED_FOR_ORG", "", CONFIGURATION),
    (LOGIN, "UNSUPPORTED_API_VERSION", "Invalid Api version specified on URL", CONFIGURATION),
    (LOGIN, "INSUFFICIENT_ACCESS", "Use Any API Auth", CONFIGURATION),
    (LOGIN, "LOGIN_DURING_RESTRICTED_DOMAIN", "cannot log in from current IP address", CONFIGURATION),
    (LOGIN, "LOGIN_DURING_RESTRICTED_TIME", "cannot log in during this time", CONFIGURATION),
    (LOGIN, "LOGIN_CHALLENGE_ISSUED", "Verify your identity", CONFIGURATION),
    (LOGIN, "LOGIN_CHALLENGE_PENDING", "Verify your identity", CONFIGURATION),
    (LOGIN, "ORG_LOCKED", "", CONFIGURATION),
    (LOGIN, "TRIAL_EXPIRED", "", CONFIGURATION),
    (LOGIN, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", QUOTA),
    (LOGIN, "SERVER_UNAVAILABLE", "", TRANSIENT),
    (CALL, "INVALID_SESSION_ID", "Session expired or invalid", SESSION),
    (CALL, "InvalidSessionId", "Invalid session id", SESSION),
    (CALL, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.", TRANSIENT),
    (CALL, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", QUOTA),
    (CALL, "ExceededQuota", "ApiBatchItems Limit exceeded.", QUOTA),
    (CALL, "LIMIT_EXCEEDED", "", QUOTA),
    (CALL, "STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", QUOTA),
    (CALL, "SERVER_UNAVAILABLE", "", TRANSIENT),
    (CALL, "UNABLE_TO_LOCK_ROW", "", TRANSIENT),
    (CALL, "UNKNOWN_EXCEPTION", "An unexpected error occurred.", TRANSIENT),
    (CALL, "QUERY_TIMEOUT", "Your query request was running for too long.", TRANSIENT),
    (CALL, "Timeout", "", TRANSIENT),
    (CALL, "InternalServerError", "", TRANSIENT),
    (CALL, "Unknown", "", TRANSIENT),
    (CALL, "TooManyLockFailure", "", TRANSIENT),
    (CALL, "InvalidJobState", "Closed job cannot accept batches", Verdict.JOB_OVER),
    (CALL, "INVALIDENTITY", "Entity 'X' is not supported by the Bulk API.", CONFIGURATION),
    (CALL, "InvalidEntity", "", CONFIGURATION),
    (CALL, "InvalidJob", "Unable to find object: Contct", CONFIGURATION),
    (CALL, "InvalidJob", "Provided external ID field does not exist or is not accessible: X", CONFIGURATION),
    (CALL, "INVALID_TYPE", "sObject type 'X' is not supported.", CONFIGURATION),
    (CALL, "NOT_FOUND", "The requested resource does not exist", CONFIGURATION),
    (CALL, "INVALID_FIELD", "No such column 'X' on sobject of type Contact", CONFIGURATION),
    (CALL, "FeatureNotEnabled", "hardDelete operation requires special user profile permission", CONFIGURATION),
    (CALL, "FeatureNotEnabled", "Async API not enabled", CONFIGURATION),
    (CALL, "InvalidUser", "", CONFIGURATION),
    (CALL, "API_DISABLED_FOR_ORG", "API is not enabled for this Organization or Partner", CONFIGURATION),
    (CALL, "API_CURRENTLY_DISABLED", "API is disabled for this User", CONFIGURATION),
    (CALL, "InvalidVersion", "", CONFIGURATION),
    (CALL, "UNSUPPORTED_API_VERSION", "", CONFIGURATION),
    (CALL, "GONE", "API version 30.0 is retired", CONFIGURATION),
    (CALL, "INSUFFICIENT_ACCESS", "", CONFIGURATION),
    (CALL, "FUNCTIONALITY_NOT_ENABLED", "", CONFIGURATION),
    (CALL, "ClientInputError", "", Verdict.INTERNAL),
    (CALL, "InvalidXML", "", Verdict.INTERNAL),
    (CALL, "InvalidUrl", "", Verdict.INTERNAL),
    (CALL, "InvalidOperation", "", Verdict.INTERNAL),
    (BATCH, "InvalidBatch", "Field name not found : Nickname", CONFIGURATION),
    (BATCH, "InvalidBatch", "type is not needed for non polymorphic field", CONFIGURATION),
    (BATCH, "InvalidBatch", "Failed to read request", Verdict.INTERNAL),
    (BATCH, "ClientInputError", "LineEnding is invalid on user data", Verdict.INTERNAL),
    (BATCH, "ClientInputError", "", Verdict.INTERNAL),
    (BATCH, "TooManyLockFailure", "Too many lock failure", TRANSIENT),
    (BATCH, "InternalServerError", "", TRANSIENT),
    (BATCH, "Timeout", "", TRANSIENT),
    (BATCH, "Unknown", "", TRANSIENT),
    (BATCH, "ExceededQuota", "", QUOTA),
    (ROW, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", Verdict.ROW_LOCKED),
]
REFUSED_ROWS = [
    ("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]"),
    ("DUPLICATE_VALUE", "duplicate value found"),
    ("DUPLICATES_DETECTED", "Use one of these records?"),
    ("STRING_TOO_LONG", "data value too large"),
    ("INVALID_EMAIL_ADDRESS", "invalid email address: x"),
    ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "no"),
    ("ENTITY_IS_DELETED", "entity is deleted"),
    ("MALFORMED_ID", "malformed id"),
    ("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"),
    ("MISSING_ARGUMENT", "Id not specified in an update call"),
    ("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "bad value for restricted picklist field: x"),
    ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "trigger"),
    ("INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: X"),
    ("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id"),
    ("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "insufficient access rights on cross-reference id"),
    ("INVALID_FIELD", "Failed to deserialize field at col 3. Due to, 'x' is not a valid value for the type xsd:date"),
    ("SOMETHING_NEW", "in words"),
]


@pytest.mark.parametrize(("where", "code", "message", "verdict"), ERRORS)
def test_errors_are_classified_by_place_code_and_words(where: Where, code: str, message: str, verdict: Verdict) -> None:
    rule = classify(where, code, message, status=400)
    assert rule.verdict is verdict
    assert rule in RULES
    if where is not LOGIN:  # the same code may mean something else elsewhere, but there is one rule for it here
        assert classify(where, code.upper(), message.upper(), status=200) is rule


def test_every_rule_has_an_example_above() -> None:
    found = {classify(where, code, message, status=400) for where, code, message, _ in ERRORS}
    assert found == set(RULES)


@pytest.mark.parametrize(("code", "message"), REFUSED_ROWS)
def test_a_rows_own_error_refuses_the_row(code: str, message: str) -> None:
    assert classify(ROW, code, message).verdict is Verdict.ROW


@pytest.mark.parametrize(
    ("code", "status", "verdict"),
    [
        ("", 503, TRANSIENT),
        ("", 404, TRANSIENT),
        ("", 200, TRANSIENT),
        ("SOMETHING_NEW", 400, CONFIGURATION),
        ("SOMETHING_NEW", 403, CONFIGURATION),
        ("SOMETHING_NEW", 500, TRANSIENT),
        ("SOMETHING_NEW", 429, TRANSIENT),
        ("SOMETHING_NEW", 420, TRANSIENT),
        ("SOMETHING_NEW", 406, TRANSIENT),
    ],
)
def test_without_a_rule_the_status_helps_out(code: str, status: int, verdict: Verdict) -> None:
    assert classify(CALL, code, "in words", status=status).verdict is verdict


def test_an_unknown_batch_error_may_pass() -> None:
    assert classify(BATCH, "SOMETHING_NEW", "in words").verdict is TRANSIENT

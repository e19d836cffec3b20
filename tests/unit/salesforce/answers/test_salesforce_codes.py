import pytest
from support.salesforce.salesforce_codes import ASYNC_EXCEPTION_CODES, EXCEPTION_CODES, STATUS_CODES

from exporter.targets.salesforce.http.code_table import CODES, CODES_OF_ANY_CASE, Meaning
from exporter.targets.salesforce.http.error_codes import RULES, Verdict, Where, classify

CONFIGURATION, TRANSIENT, QUOTA, SESSION = (
    Verdict.CONFIGURATION,
    Verdict.TRANSIENT,
    Verdict.QUOTA,
    Verdict.SESSION,
)
LOGIN, CALL, BATCH, ROW = Where.LOGIN, Where.CALL, Where.BATCH, Where.ROW
LOCKED = Verdict.ROW_LOCKED
LIMIT = Verdict.LIMIT

ERRORS = [
    (LOGIN, "OAUTH_EC_APP_NOT_FOUND", "External client app is not installed in this org", CONFIGURATION),
    (LOGIN, "app_not_found", "External client app is not installed in this org", CONFIGURATION),
    (LOGIN, "invalid_client", "app must be installed into org", CONFIGURATION),
    (LOGIN, "OAUTH_APPROVAL_ERROR_GENERIC", "An unexpected error has occured during authentication.", CONFIGURATION),
    (LOGIN, "OAUTH_APP_BLOCKED", "this app is blocked by admin", CONFIGURATION),
    (LOGIN, "invalid_client", "this app is blocked by admin", CONFIGURATION),
    (LOGIN, "OAUTH_APP_ACCESS_DENIED", "user is not admin approved to access this app", CONFIGURATION),
    (LOGIN, "invalid_grant", "user is not admin approved to access this app", CONFIGURATION),
    (LOGIN, "OAUTH_AUTHORIZATION_BLOCKED", "Cross-org OAuth flows are not supported", CONFIGURATION),
    (LOGIN, "invalid_scope", "the requested scope is not allowed", CONFIGURATION),
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
    (LOGIN, "INSUFFICIENT_ACCESS", "Use Any API Auth", CONFIGURATION),
    (CALL, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.", TRANSIENT),
    (CALL, "INVALIDENTITY", "Entity 'X' is not supported by the Bulk API.", CONFIGURATION),
    (CALL, "InvalidJob", "Unable to find object: Contct", CONFIGURATION),
    (CALL, "InvalidJob", "Provided external ID field does not exist or is not accessible: X", CONFIGURATION),
    (CALL, "InvalidJob", "Invalid job id: 750000000000001", Verdict.INTERNAL),
    (CALL, "INVALID_FIELD", "value of filter criterion for field 'Age__c' must be of type double", Verdict.ROW),
    (CALL, "INVALID_FIELD", "No such column 'X' on sobject of type Contact", CONFIGURATION),
    (CALL, "FeatureNotEnabled", "hardDelete operation requires special user profile permission", CONFIGURATION),
    (BATCH, "InvalidBatch", "Field name not found : Nickname", CONFIGURATION),
    (BATCH, "InvalidBatch", "type is not needed for non polymorphic field", CONFIGURATION),
    (BATCH, "InvalidBatch", "Failed to process query: java.lang.NullPointerException: null", TRANSIENT),
    (BATCH, "InvalidBatch", "Retried more than fifteen times", TRANSIENT),
    (BATCH, "InvalidBatch", "Records not processed", TRANSIENT),
    (BATCH, "INVALID_FIELD", "value of filter criterion for field 'Age__c' must be of type double", Verdict.ROW),
    (BATCH, "INVALID_FIELD", "No such column 'Age__c' on entity 'Contact'", CONFIGURATION),
    (BATCH, "FeatureNotEnabled", "hardDelete operation requires special user profile permission", CONFIGURATION),
    (ROW, "INVALID_FIELD", "No such column 'X' on sobject of type Contact", CONFIGURATION),
    (ROW, "INVALID_FIELD_FOR_INSERT_UPDATE", "cannot combine a person account record type change", Verdict.ROW),
]
TABLED = [
    (LOGIN, "INVALID_LOGIN", "Invalid username, password, security token; or user locked out.", CONFIGURATION),
    (LOGIN, "LOGIN_MUST_USE_SECURITY_TOKEN", "Invalid username, password, security token", CONFIGURATION),
    (LOGIN, "PASSWORD_LOCKOUT", "", CONFIGURATION),
    (LOGIN, "INVALID_OPERATION_WITH_EXPIRED_PASSWORD", "The users password has expired", CONFIGURATION),
    (LOGIN, "API_DISABLED_FOR_ORG", "", CONFIGURATION),
    (LOGIN, "UNSUPPORTED_API_VERSION", "Invalid Api version specified on URL", CONFIGURATION),
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
    (CALL, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", QUOTA),
    (CALL, "ExceededQuota", "ApiBatchItems Limit exceeded.", QUOTA),
    (CALL, "LIMIT_EXCEEDED", "", LIMIT),
    (CALL, "STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", LIMIT),
    (CALL, "SERVER_UNAVAILABLE", "", TRANSIENT),
    (CALL, "UNABLE_TO_LOCK_ROW", "", TRANSIENT),
    (CALL, "UNKNOWN_EXCEPTION", "An unexpected error occurred.", TRANSIENT),
    (CALL, "QUERY_TIMEOUT", "Your query request was running for too long.", TRANSIENT),
    (CALL, "Timeout", "", TRANSIENT),
    (CALL, "InternalServerError", "", TRANSIENT),
    (CALL, "Unknown", "", TRANSIENT),
    (CALL, "TooManyLockFailure", "", TRANSIENT),
    (CALL, "InvalidJobState", "Closed job cannot accept batches", Verdict.JOB_OVER),
    (CALL, "InvalidEntity", "", CONFIGURATION),
    (CALL, "INVALID_TYPE", "sObject type 'X' is not supported.", CONFIGURATION),
    (CALL, "NOT_FOUND", "The requested resource does not exist", CONFIGURATION),
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
    (BATCH, "InvalidBatch", "Failed to read request", Verdict.INTERNAL),
    (BATCH, "ClientInputError", "LineEnding is invalid on user data", Verdict.INTERNAL),
    (BATCH, "ClientInputError", "", Verdict.INTERNAL),
    (BATCH, "TooManyLockFailure", "Too many lock failure 200 Trying again later.", LOCKED),
    (BATCH, "InternalServerError", "", TRANSIENT),
    (BATCH, "Timeout", "", TRANSIENT),
    (BATCH, "Unknown", "", TRANSIENT),
    (BATCH, "ExceededQuota", "", QUOTA),
    (ROW, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", LOCKED),
    (CALL, "TXN_SECURITY_METERING_ERROR", "policies took too long to complete", TRANSIENT),
    (CALL, "NUMBER_OUTSIDE_VALID_RANGE", "value outside of valid range", Verdict.ROW),
    (CALL, "INVALIDJOBSTATE", "InvalidJobState : Job is Aborted", Verdict.JOB_OVER),
    (CALL, "EXCEEDEDQUOTA", "ExceededQuota : ApiBatchItems Limit exceeded.", QUOTA),
    (BATCH, "FeatureNotEnabled", "Bulk API not enabled", CONFIGURATION),
    (BATCH, "InvalidUser", "", CONFIGURATION),
    (BATCH, "InvalidEntity", "", CONFIGURATION),
    (BATCH, "TransactionSecurityBlock", "", CONFIGURATION),
    (BATCH, "TXN_SECURITY_METERING_ERROR", "policies took too long to complete", TRANSIENT),
    (BATCH, "TransactionSecurityInternalError", "", TRANSIENT),
    (BATCH, "UnsupportedContentType", "", Verdict.INTERNAL),
    (BATCH, "HttpsRequired", "", Verdict.INTERNAL),
    (BATCH, "InvalidSessionId", "", TRANSIENT),
    (BATCH, "QUERY_TIMEOUT", "Your query request was running for too long.", TRANSIENT),
    (BATCH, "OPERATION_TOO_LARGE", "exceeded 100000 distinct who/what's", CONFIGURATION),
    (BATCH, "TXN_SECURITY_NO_ACCESS", "", CONFIGURATION),
    (ROW, "STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", LIMIT),
    (ROW, "LIMIT_EXCEEDED", "", LIMIT),
    (ROW, "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", "Updates can't be made during maintenance", TRANSIENT),
    (ROW, "UNKNOWN_EXCEPTION", "An unexpected error occurred.", TRANSIENT),
    (ROW, "SERVER_UNAVAILABLE", "", TRANSIENT),
    (ROW, "TooManyLockFailure", "Too many lock failure 200 Trying again later.", LOCKED),
    (CALL, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", CONFIGURATION),
    (ROW, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", QUOTA),
    (ROW, "SINGLE_EMAIL_LIMIT_EXCEEDED", "", LIMIT),
    (ROW, "LICENSE_LIMIT_EXCEEDED", "license limit exceeded", LIMIT),
    (BATCH, "STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", LIMIT),
    (ROW, "INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: X", CONFIGURATION),
]
"""Errors that have no rule of their own: the table of codes knows them."""
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
    ("INVALID_FIELD", "Failed to deserialize field at col 3. Due to, 'x' is not a valid value for the type xsd:date"),
    ("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id"),
    ("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "insufficient access rights on cross-reference id: 0015g00000A"),
    ("TRANSFER_REQUIRES_READ", "The new owner must have read permission"),
    ("OP_WITH_INVALID_USER_TYPE_EXCEPTION", "Operation not valid for this user type"),
    ("NOT_FOUND", "The requested resource does not exist"),
    ("METHOD_NOT_ALLOWED", "as a row's error it makes no sense"),
    ("SOMETHING_NEW", "in words"),
    ("UNKNOWN", "words only"),
]


@pytest.mark.parametrize(("where", "code", "message", "verdict"), ERRORS)
def test_errors_are_classified_by_place_code_and_words(where: Where, code: str, message: str, verdict: Verdict) -> None:
    rule = classify(where, code, message, status=400)
    assert rule.verdict is verdict
    assert rule in RULES
    if where is not LOGIN:  # the same code may mean something else elsewhere, but there is one rule for it here
        assert classify(where, code.upper(), message.upper(), status=200) is rule


@pytest.mark.parametrize(("where", "code", "message", "verdict"), TABLED)
def test_errors_without_a_rule_are_classified_by_the_table(
    where: Where, code: str, message: str, verdict: Verdict
) -> None:
    rule = classify(where, code, message, status=400)
    assert rule.verdict is verdict
    assert rule not in RULES


def test_every_rule_has_an_example_above() -> None:
    found = {classify(where, code, message, status=400) for where, code, message, _ in ERRORS}
    assert found == set(RULES)


@pytest.mark.parametrize(("code", "message"), REFUSED_ROWS)
def test_a_rows_own_error_refuses_the_row(code: str, message: str) -> None:
    assert classify(ROW, code, message).verdict is Verdict.ROW


@pytest.mark.parametrize("codes", [STATUS_CODES, EXCEPTION_CODES, ASYNC_EXCEPTION_CODES], ids=len)
def test_every_code_that_salesforce_publishes_has_a_row(codes: list[str]) -> None:
    assert [code for code in codes if code not in CODES] == []
    assert [code for code in codes if code.lower() not in CODES_OF_ANY_CASE] == []


def test_the_table_has_few_codes_that_salesforce_does_not_publish() -> None:
    others = set(CODES) - {*STATUS_CODES, *EXCEPTION_CODES, *ASYNC_EXCEPTION_CODES}
    assert others <= {
        *("API_ERROR", "BULK_API_ERROR", "CONCURRENT_REQUESTS_LIMIT_EXCEEDED", "ERROR_HTTP_503", "GONE"),
        *("REQUEST_ENTITY_TOO_LARGE", "OPERATION_ENQUEUED_ON_UPGRADE", "MethodNotAllowed", "NotFound"),
    }


_FOR_A_PERSON = frozenset({Meaning.CONFIGURATION, Meaning.RECORD})


def test_whatever_a_person_has_to_do_is_said() -> None:
    silent = [row.code for row in CODES.values() if row.meaning in _FOR_A_PERSON and not row.advice]
    assert silent == []


def test_a_code_in_any_place_and_any_case_has_one_meaning() -> None:
    shared = [row for row in CODES.values() if CODES_OF_ANY_CASE[row.code.lower()].meaning is not row.meaning]
    assert shared == []


def test_only_calls_and_batches_are_a_quota_of_the_whole_org() -> None:
    """A job that sends e-mails, or fills the storage, stopped every other job of its connection."""
    assert {row.code for row in CODES.values() if row.meaning is Meaning.QUOTA} == {
        *("REQUEST_LIMIT_EXCEEDED", "EXCEEDED_QUOTA", "ExceededQuota", "TOO_MANY_JOBS"),
    }


def test_what_speaks_of_one_record_refuses_a_row_and_is_configuration_for_a_call() -> None:
    for row in (each for each in CODES.values() if each.meaning is Meaning.RECORD):
        found = {where: classify(where, row.code, "in words", status=400) for where in (CALL, BATCH, ROW)}
        assert [each.verdict for each in found.values()] == [CONFIGURATION, CONFIGURATION, Verdict.ROW]
        assert all(each.advice for each in found.values())


@pytest.mark.parametrize("code", [*STATUS_CODES, *EXCEPTION_CODES])
def test_a_row_is_refused_for_configuration_only_by_codes_that_speak_of_columns_types_and_rights(code: str) -> None:
    verdict = classify(ROW, code, "in words").verdict
    assert verdict not in {Verdict.SESSION, Verdict.JOB_OVER, Verdict.INTERNAL}
    assert (verdict is CONFIGURATION) is (CODES[code].meaning is Meaning.CONFIGURATION)


TRIGGER = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
FLOW = "CANNOT_EXECUTE_FLOW_TRIGGER"
INSIDE = [
    (
        TRIGGER,
        (
            "dlrs_T: execution of AfterInsert caused by: System.DmlException: Update failed. First exception on "
            "row 0 with id 001B000001ABCdEIAX; first error: UNABLE_TO_LOCK_ROW, unable to obtain exclusive access to "
            "this record or 1 records: 001B000001ABCdEIAX: [] Class.dlrs.Rollup.run: line 5, column 1"
        ),
        LOCKED,
    ),
    (
        TRIGGER,
        (
            "A: execution of AfterUpdate caused by: System.DmlException: Update failed. First exception on row 0; "
            "first error: CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY, B: execution of BeforeUpdate caused by: "
            "System.DmlException: Insert failed. First exception on row 3; first error: "
            "UNABLE_TO_LOCK_ROW, unable to obtain exclusive access: []"
        ),
        LOCKED,
    ),
    (
        TRIGGER,
        (
            "A: execution of AfterUpdate caused by: System.QueryException: Record Currently Unavailable: The record "
            "you are attempting to edit, or one of its related records, is currently being modified by another user."
        ),
        LOCKED,
    ),
    (
        FLOW,
        (
            'We can\'t save this record because the "Count" process failed. Give your admin these details. The flow '
            "tried to update these records: 001B000001ABCdEIAX. This error occurred: UNABLE_TO_LOCK_ROW: unable to "
            "obtain exclusive access to this record or 1 records: 001B000001ABCdEIAX."
        ),
        LOCKED,
    ),
    (
        FLOW,
        (
            "This error occurred when the flow tried to create records: CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY: T: "
            "execution of BeforeInsert caused by: System.DmlException: first error: UNABLE_TO_LOCK_ROW, unable to"
        ),
        LOCKED,
    ),
    ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Insert failed. first error: UNABLE_TO_LOCK_ROW, unable to obtain", LOCKED),
    (TRIGGER, "T: execution of AfterInsert caused by: X; first error: STORAGE_LIMIT_EXCEEDED, full: []", LIMIT),
    (TRIGGER, "T: execution of AfterInsert caused by: X; first error: SERVER_UNAVAILABLE, busy: []", TRANSIENT),
    (TRIGGER, "T: execution of BeforeInsert; first error: FIELD_CUSTOM_VALIDATION_EXCEPTION, no: []", Verdict.ROW),
    (TRIGGER, "T: execution of BeforeInsert; first error: INSUFFICIENT_ACCESS_OR_READONLY, no: []", Verdict.ROW),
    ("STRING_TOO_LONG", "Name: data value too large: first error: UNABLE_TO_LOCK_ROW (max length=80)", Verdict.ROW),
]


@pytest.mark.parametrize(("code", "message", "verdict"), INSIDE)
def test_what_a_trigger_or_a_flow_met_counts_if_the_row_may_go_in_later(
    code: str, message: str, verdict: Verdict
) -> None:
    assert classify(ROW, code, message).verdict is verdict


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

"""What each of Salesforce's errors asks for, as a table. Pure.

Neither the HTTP status nor the code alone says it: INVALID_FIELD names a missing column in one place and a bad value in
another. So a rule is found by where the error came up, its code, and words of its message.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Where(StrEnum):
    """Where an error came up."""

    LOGIN = "login"
    """An answer of the token endpoint, or of the SOAP login."""
    CALL = "call"
    """An answer to any other request."""
    BATCH = "batch"
    """The state message of a batch that failed as a whole."""
    ROW = "row"
    """The error of one row in a batch's result."""


class Verdict(StrEnum):
    """What an error asks for."""

    CONFIGURATION = "configuration"
    """A person has to act."""
    TRANSIENT = "transient"
    """The same call may work a little later."""
    QUOTA = "quota"
    """The same call may work hours later: not to be tried again at once."""
    SESSION = "session"
    """Log in anew, then the same call."""
    JOB_OVER = "job_over"
    """The BulkJob takes no more batches."""
    INTERNAL = "internal"
    """schedctl's own fault."""
    ROW = "row"
    """The row is refused."""
    ROW_LOCKED = "row_locked"
    """The row was refused because another transaction held its record or parent: that row may be sent again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Errors that came up at ``where`` with ``code`` (any case) and ``words`` (any case) in their message.

    ``advice`` is what the user is told to do.
    """

    where: Where
    code: str
    words: str
    verdict: Verdict
    advice: str = ""

    def fits(self, where: Where, code: str, message: str) -> bool:
        """Whether the rule speaks of this error."""
        return where is self.where and code.lower() == self.code.lower() and self.words.lower() in message.lower()


_CONFIGURATION, _TRANSIENT, _QUOTA, _SESSION = (
    Verdict.CONFIGURATION,
    Verdict.TRANSIENT,
    Verdict.QUOTA,
    Verdict.SESSION,
)

_CLIENT_ID = "check client_id: it is the consumer key of the app"
_APP = "check client_id and client_secret: consumer key and secret of the app"
_RUN_AS = "in the app's client-credentials flow, choose a user to run as"
_MY_DOMAIN = "set login_url to the org's own address (My Domain), such as https://yourorg.my.salesforce.com"
_FLOW = "enable the client-credentials flow in the app's OAuth settings"
_APPROVE = "let the run-as user use the app: its permission set, or the app's policy of permitted users"
_PASSWORD = "check username, password and security token"  # noqa: S105 - it says where to look, it is none
_ADDRESS = "allow this machine's address (or source_address) in the org's trusted IP ranges"
_RIGHTS = "give the user the permission"

# Token endpoint: help.salesforce.com "OAuth 2.0 Authorization Errors"; SOAP: "login()" in the SOAP API guide.
_LOGIN: tuple[tuple[str, str, Verdict, str], ...] = (
    ("invalid_client_id", "", _CONFIGURATION, _CLIENT_ID),
    ("invalid_client", "", _CONFIGURATION, _APP),
    ("invalid_grant", "no client credentials user enabled", _CONFIGURATION, _RUN_AS),
    ("invalid_grant", "request not supported on this domain", _CONFIGURATION, _MY_DOMAIN),
    ("invalid_grant", "expired access/refresh token", _CONFIGURATION, "log in again"),
    ("invalid_grant", "authentication failure", _CONFIGURATION, _APP),
    ("invalid_grant", "user hasn't approved this consumer", _CONFIGURATION, _APPROVE),
    ("invalid_grant", "audience validation failed", _CONFIGURATION, "check login_url"),
    ("invalid_grant", "ip restricted", _CONFIGURATION, _ADDRESS),
    ("invalid_grant", "login rate exceeded", _TRANSIENT, ""),
    ("invalid_grant", "", _CONFIGURATION, _APP),
    ("unsupported_grant_type", "", _CONFIGURATION, _FLOW),
    ("unauthorized_client", "", _CONFIGURATION, _FLOW),
    ("invalid_app_access", "", _CONFIGURATION, _APPROVE),
    ("inactive_user", "", _CONFIGURATION, "activate the run-as user, or choose another"),
    ("inactive_org", "", _CONFIGURATION, "the org is locked or gone: check login_url"),
    ("rate_limit_exceeded", "", _TRANSIENT, ""),
    ("server_error", "", _TRANSIENT, ""),
    ("temporarily_unavailable", "", _TRANSIENT, ""),
    ("unknown_error", "retry", _TRANSIENT, ""),
    ("INVALID_LOGIN", "", _CONFIGURATION, _PASSWORD),
    ("LOGIN_MUST_USE_SECURITY_TOKEN", "", _CONFIGURATION, _PASSWORD),
    ("PASSWORD_LOCKOUT", "", _CONFIGURATION, "unlock the user"),
    ("INVALID_OPERATION_WITH_EXPIRED_PASSWORD", "", _CONFIGURATION, "set a new password for the user"),
    ("API_DISABLED_FOR_ORG", "", _CONFIGURATION, "the org's edition has no API access"),
    ("UNSUPPORTED_API_VERSION", "", _CONFIGURATION, "set a newer api_version"),
    ("INSUFFICIENT_ACCESS", "", _CONFIGURATION, f"{_RIGHTS} Use Any API Auth"),
    ("LOGIN_DURING_RESTRICTED_DOMAIN", "", _CONFIGURATION, _ADDRESS),
    ("LOGIN_DURING_RESTRICTED_TIME", "", _CONFIGURATION, "widen the login hours of the user's profile"),
    ("LOGIN_CHALLENGE_ISSUED", "", _CONFIGURATION, _ADDRESS),
    ("LOGIN_CHALLENGE_PENDING", "", _CONFIGURATION, _ADDRESS),
    ("ORG_LOCKED", "", _CONFIGURATION, "the org is locked: ask Salesforce"),
    ("TRIAL_EXPIRED", "", _CONFIGURATION, "the org's trial is over: check login_url"),
    ("REQUEST_LIMIT_EXCEEDED", "", _QUOTA, "the org's API calls of 24 hours are used up"),
    ("SERVER_UNAVAILABLE", "", _TRANSIENT, ""),
)

# "Errors" in the Bulk API guide, and status codes of the REST API guide.
_CALL: tuple[tuple[str, str, Verdict, str], ...] = (
    ("INVALID_SESSION_ID", "", _SESSION, ""),
    ("InvalidSessionId", "", _SESSION, ""),
    ("REQUEST_LIMIT_EXCEEDED", "concurrent", _TRANSIENT, ""),
    ("REQUEST_LIMIT_EXCEEDED", "", _QUOTA, "the org's API calls of 24 hours are used up"),
    ("ExceededQuota", "", _QUOTA, "the org's bulk quota of 24 hours is used up"),
    ("LIMIT_EXCEEDED", "", _QUOTA, "a limit of the org is used up"),
    ("STORAGE_LIMIT_EXCEEDED", "", _QUOTA, "the org's storage is full: make room there"),
    ("SERVER_UNAVAILABLE", "", _TRANSIENT, ""),
    ("UNABLE_TO_LOCK_ROW", "", _TRANSIENT, ""),
    ("UNKNOWN_EXCEPTION", "", _TRANSIENT, ""),
    ("QUERY_TIMEOUT", "", _TRANSIENT, ""),
    ("Timeout", "", _TRANSIENT, ""),
    ("InternalServerError", "", _TRANSIENT, ""),
    ("Unknown", "", _TRANSIENT, ""),
    ("TooManyLockFailure", "", _TRANSIENT, ""),
    ("InvalidJobState", "", Verdict.JOB_OVER, ""),
    ("INVALIDENTITY", "not supported by the Bulk API", _CONFIGURATION, "choose another object"),
    ("InvalidEntity", "", _CONFIGURATION, "choose another object"),
    ("InvalidJob", "Unable to find object", _CONFIGURATION, "check object, and the user's access to it"),
    ("InvalidJob", "external ID field does not exist", _CONFIGURATION, "check key: it has to be an external id"),
    ("INVALID_TYPE", "", _CONFIGURATION, "check object, and the user's access to it"),
    ("NOT_FOUND", "", _CONFIGURATION, "check object, api_version, and the user's access"),
    ("INVALID_FIELD", "No such column", _CONFIGURATION, "check the column's name and the user's access to it"),
    ("FeatureNotEnabled", "hardDelete", _CONFIGURATION, f"{_RIGHTS} Bulk API Hard Delete"),
    ("FeatureNotEnabled", "", _CONFIGURATION, "the Bulk API is not enabled for this org or user"),
    ("InvalidUser", "", _CONFIGURATION, f"{_RIGHTS} to use the Bulk API"),
    ("API_DISABLED_FOR_ORG", "", _CONFIGURATION, f"{_RIGHTS} API Enabled"),
    ("API_CURRENTLY_DISABLED", "", _CONFIGURATION, "API access of the user is switched off"),
    ("InvalidVersion", "", _CONFIGURATION, "set a newer api_version"),
    ("UNSUPPORTED_API_VERSION", "", _CONFIGURATION, "set a newer api_version"),
    ("GONE", "", _CONFIGURATION, "set a newer api_version"),
    ("INSUFFICIENT_ACCESS", "", _CONFIGURATION, "give the user access"),
    ("FUNCTIONALITY_NOT_ENABLED", "", _CONFIGURATION, "the org does not have this feature"),
    ("ClientInputError", "", Verdict.INTERNAL, ""),
    ("InvalidXML", "", Verdict.INTERNAL, ""),
    ("InvalidUrl", "", Verdict.INTERNAL, ""),
    ("InvalidOperation", "", Verdict.INTERNAL, ""),
)

_HEADER = "check the column's name and the user's access to it"
_BATCH: tuple[tuple[str, str, Verdict, str], ...] = (
    ("InvalidBatch", "Field name not found", _CONFIGURATION, _HEADER),
    (
        "InvalidBatch",
        "type is not needed for non polymorphic",
        _CONFIGURATION,
        "write the parent's column without type",
    ),
    ("InvalidBatch", "", Verdict.INTERNAL, ""),
    ("ClientInputError", "LineEnding is invalid", Verdict.INTERNAL, ""),
    ("ClientInputError", "", Verdict.INTERNAL, ""),
    ("TooManyLockFailure", "", _TRANSIENT, ""),
    ("InternalServerError", "", _TRANSIENT, ""),
    ("Timeout", "", _TRANSIENT, ""),
    ("Unknown", "", _TRANSIENT, ""),
    ("ExceededQuota", "", _QUOTA, "the org's bulk quota of 24 hours is used up"),
)

_ROW: tuple[tuple[str, str, Verdict, str], ...] = (("UNABLE_TO_LOCK_ROW", "", Verdict.ROW_LOCKED, ""),)


def _rules(where: Where, lines: Iterable[tuple[str, str, Verdict, str]]) -> tuple[Rule, ...]:
    return tuple(
        Rule(where=where, code=code, words=words, verdict=verdict, advice=advice)
        for code, words, verdict, advice in lines
    )


RULES = (
    *_rules(Where.LOGIN, _LOGIN),
    *_rules(Where.CALL, _CALL),
    *_rules(Where.BATCH, _BATCH),
    *_rules(Where.ROW, _ROW),
)
"""Every rule; of those that fit an error, the first counts."""

BUSY_STATUSES = frozenset({406, 408, 420, 429})
"""HTTP statuses below 500 with which Salesforce, or what stands before it, says: not now."""
_SERVER_ERROR = 500
_NO_CODE = Rule(where=Where.CALL, code="", words="", verdict=Verdict.TRANSIENT)
_UNKNOWN = Rule(where=Where.CALL, code="", words="", verdict=Verdict.CONFIGURATION)
_REFUSED_ROW = Rule(where=Where.ROW, code="", words="", verdict=Verdict.ROW)


def classify(where: Where, code: str, message: str, *, status: int | None = None) -> Rule:
    """Return the rule for an error; ``code`` is empty where the answer held none that could be read.

    Without a rule of its own, a row's error refuses that row, an unreadable or busy answer (or a server error) may
    pass, and any other refusal is for a person.
    """
    for rule in RULES:
        if rule.fits(where, code, message):
            return rule
    if where is Where.ROW:
        return _REFUSED_ROW
    if not code or where is Where.BATCH:
        return _NO_CODE
    if status is not None and (status >= _SERVER_ERROR or status in BUSY_STATUSES):
        return _NO_CODE
    return _UNKNOWN

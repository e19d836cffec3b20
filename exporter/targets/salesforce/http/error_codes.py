"""What each of Salesforce's errors asks for. Pure.

Neither the HTTP status nor the code alone says it: INVALID_FIELD names a missing column in one place and a bad value in
another. So a rule is found by where the error came up, its code, and words of its message; a code without a rule of its
own means what the table of all codes says (:mod:`~exporter.targets.salesforce.http.code_table`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from exporter.targets.salesforce.http.code_table import CODES, CODES_OF_ANY_CASE, Meaning
from exporter.targets.salesforce.http.message_values import inner_codes


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
    """What an error asks for. Of a row's error, it says why the row was rejected."""

    CONFIGURATION = "configuration"
    """A person has to act: on a column, a type, a right, a setting of the org."""
    TRANSIENT = "transient"
    """The same call, or the same row, may work a little later."""
    QUOTA = "quota"
    """The same call, or the same row, may work hours later, as any other of the org: not to be tried again at once."""
    LIMIT = "limit"
    """The same, but other calls and rows may work now."""
    SESSION = "session"
    """Log in anew, then the same call."""
    JOB_OVER = "job_over"
    """The BulkJob takes no more batches."""
    INTERNAL = "internal"
    """schedctl's own fault."""
    ROW = "row"
    """The row is refused for its values, or the request for the values in it."""
    ROW_LOCKED = "row_locked"
    """Another transaction held the record or its parent: what was refused may be sent again, best alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Errors that came up at ``where`` with ``code`` (any case) and ``words`` (any case) in their message.

    ``advice`` is what the user is reported to do.
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
_COLUMN = "check the column's name and the user's access to it"
_INSTALL = (
    "an administrator installs the app under Setup, Connected Apps OAuth Usage (or makes an app in this org), and lets "
    "the user use it; check client_id, and login_url, which has to be this org's own address (My Domain)"
)
_UNBLOCK = "an administrator has blocked the app: unblock it under Setup, Connected Apps OAuth Usage"
_SCOPES = "add the scopes api and refresh_token to the app's OAuth settings"
_OWN_ORG = (
    "the app is for the org only in which it was made: set login_url to that org's own address (My Domain), or use an "
    "app of this org"
)

# Token endpoint: help.salesforce.com "OAuth 2.0 Authorization Errors"; SOAP: "login()" in the SOAP API guide.
# Apps: help article 005132365 (usage restrictions since September 2025); the OAUTH_ codes are those of the error pages.
_LOGIN: tuple[tuple[str, str, Verdict, str], ...] = (
    ("OAUTH_EC_APP_NOT_FOUND", "", _CONFIGURATION, _INSTALL),
    ("app_not_found", "", _CONFIGURATION, _INSTALL),
    ("invalid_client", "app must be installed", _CONFIGURATION, _INSTALL),
    ("OAUTH_APPROVAL_ERROR_GENERIC", "", _CONFIGURATION, f"{_INSTALL}; {_SCOPES}"),
    ("OAUTH_APP_BLOCKED", "", _CONFIGURATION, _UNBLOCK),
    ("invalid_client", "blocked by admin", _CONFIGURATION, _UNBLOCK),
    ("OAUTH_APP_ACCESS_DENIED", "", _CONFIGURATION, _APPROVE),
    ("invalid_grant", "not admin approved", _CONFIGURATION, _APPROVE),
    ("OAUTH_AUTHORIZATION_BLOCKED", "", _CONFIGURATION, _OWN_ORG),
    ("invalid_scope", "", _CONFIGURATION, _SCOPES),
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
    ("INSUFFICIENT_ACCESS", "", _CONFIGURATION, f"{_RIGHTS} Use Any API Auth"),
)

# Where a code means something else than the table says, or its message decides: "Errors" in the Bulk API guide, and
# status codes of the REST API guide.
_CALL: tuple[tuple[str, str, Verdict, str], ...] = (
    ("REQUEST_LIMIT_EXCEEDED", "concurrent", _TRANSIENT, ""),
    ("INVALIDENTITY", "not supported by the Bulk API", _CONFIGURATION, "choose another object"),
    ("InvalidJob", "Unable to find object", _CONFIGURATION, "check object, and the user's access to it"),
    ("InvalidJob", "external ID field does not exist", _CONFIGURATION, "check key: it has to be an external id"),
    ("InvalidJob", "Invalid job id", Verdict.INTERNAL, ""),
    ("INVALID_FIELD", "filter criterion", Verdict.ROW, ""),
    ("INVALID_FIELD", "", _CONFIGURATION, _COLUMN),
    ("FeatureNotEnabled", "hardDelete", _CONFIGURATION, f"{_RIGHTS} Bulk API Hard Delete"),
)

_BATCH: tuple[tuple[str, str, Verdict, str], ...] = (
    ("InvalidBatch", "Field name not found", _CONFIGURATION, _COLUMN),
    (
        "InvalidBatch",
        "type is not needed for non polymorphic",
        _CONFIGURATION,
        "write the parent's column without type",
    ),
    ("InvalidBatch", "Failed to process query: java.", _TRANSIENT, ""),
    ("InvalidBatch", "Retried more than", _TRANSIENT, ""),
    ("InvalidBatch", "Records not processed", _TRANSIENT, ""),
    ("INVALID_FIELD", "filter criterion", Verdict.ROW, ""),
    ("INVALID_FIELD", "", _CONFIGURATION, _COLUMN),
    ("FeatureNotEnabled", "hardDelete", _CONFIGURATION, f"{_RIGHTS} Bulk API Hard Delete"),
)

_ROW: tuple[tuple[str, str, Verdict, str], ...] = (
    ("INVALID_FIELD", "No such column", _CONFIGURATION, _COLUMN),
    ("INVALID_FIELD_FOR_INSERT_UPDATE", "person account", Verdict.ROW, ""),
)


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

_RULES_BY_CODE: dict[tuple[Where, str], list[Rule]] = {}
for _rule in RULES:
    _RULES_BY_CODE.setdefault((_rule.where, _rule.code.lower()), []).append(_rule)

BUSY_STATUSES = frozenset({406, 408, 420, 429})
"""HTTP statuses below 500 with which Salesforce, or what stands before it, says: not now."""
_SERVER_ERROR = 500

_VERDICTS: Mapping[Meaning, Verdict] = {
    Meaning.DATA: Verdict.ROW,
    Meaning.CONFIGURATION: Verdict.CONFIGURATION,
    Meaning.TRANSIENT: Verdict.TRANSIENT,
    Meaning.QUOTA: Verdict.QUOTA,
    Meaning.LIMIT: Verdict.LIMIT,
    Meaning.RECORD: Verdict.CONFIGURATION,
    Meaning.LOCK: Verdict.TRANSIENT,
    Meaning.SESSION: Verdict.SESSION,
    Meaning.JOB_OVER: Verdict.JOB_OVER,
    Meaning.INTERNAL: Verdict.INTERNAL,
}
_AFTERWARDS: Mapping[Meaning, Verdict] = {
    Meaning.LOCK: Verdict.ROW_LOCKED,
    Meaning.SESSION: Verdict.TRANSIENT,
    Meaning.JOB_OVER: Verdict.TRANSIENT,
}
"""What a code asks for when it comes in the result of a batch, and not as the answer to a call."""

_WRAPPING = frozenset(
    {
        *("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "CANNOT_EXECUTE_FLOW_TRIGGER", "FIELD_CUSTOM_VALIDATION_EXCEPTION"),
        *("FLOW_EXCEPTION", "APEX_FAILED", "CUSTOM_APEX_ERROR", "UNKNOWN_EXCEPTION"),
    }
)
"""Codes of a trigger or a flow, whose message says what went wrong inside."""
_LOCK_WORDS = ("unable_to_lock_row", "unable to obtain exclusive access", "record currently unavailable")
_PASSING_INSIDE = frozenset({Meaning.TRANSIENT, Meaning.QUOTA, Meaning.LIMIT})


def classify(where: Where, code: str, message: str, *, status: int | None = None) -> Rule:
    """Return the rule for an error; ``code`` is empty where the answer held none that could be read.

    Without a rule or a row of its own, a row's error refuses that row, an unreadable or busy answer (or a server error)
    may pass, and any other refusal is for a person.
    """
    for rule in _RULES_BY_CODE.get((where, code.lower()), ()):
        if rule.fits(where, code, message):
            return rule
    row = CODES.get(code) if where is Where.ROW else CODES_OF_ANY_CASE.get(code.lower())
    if where is Where.ROW and code in _WRAPPING and (wrapped := _inside(message)) is not None:
        row = CODES[wrapped]
    if row is not None:
        verdict = _VERDICTS[row.meaning]
        if where in {Where.ROW, Where.BATCH}:
            verdict = _AFTERWARDS.get(row.meaning, verdict)
        if where is Where.ROW and row.meaning in {Meaning.RECORD, Meaning.INTERNAL}:
            verdict = Verdict.ROW
        return Rule(where=where, code=row.code, words="", verdict=verdict, advice=row.advice)
    if where is Where.ROW:
        verdict = Verdict.ROW
    elif not code or where is Where.BATCH or (status or 0) >= _SERVER_ERROR or status in BUSY_STATUSES:
        verdict = Verdict.TRANSIENT
    else:
        verdict = Verdict.CONFIGURATION
    return Rule(where=where, code="", words="", verdict=verdict)


def _inside(message: str) -> str | None:
    """Return the code that a trigger's or a flow's message wraps, if that says that the row may be sent again.

    Only then: the words are an administrator's, and may repeat a row's, which must never speak against the job.
    """
    if any(words in message.lower() for words in _LOCK_WORDS):
        return "UNABLE_TO_LOCK_ROW"
    innermost = next(reversed(inner_codes(message)), "")
    found = CODES.get(innermost)
    return innermost if found is not None and found.meaning in _PASSING_INSIDE else None

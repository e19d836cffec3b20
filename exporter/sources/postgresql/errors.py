"""What PostgreSQL's errors ask for, by SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html."""

import psycopg

from exporter.failures import ExportError, configuration, transient
from exporter.sources.shared.redact_values import hide_values

_PASSING = ("08", "40", "53", "55", "57", "58")
"""Connection, rollback, resources, object in use, operator intervention, system: it may pass."""
_CANCELED = "57014"
_READ_ONLY = "25006"
_DATA = "22"
_OF_THE_SERVER = ("08", "40", "53", "57")
"""What the server says of itself: it quotes no row."""
_OF_FUNCTIONS = ("P0", "38", "39", "HV", "XX")
"""What functions, extensions and foreign servers say in words of their own, which may be a row's as a whole."""
_UNTOLD = (
    "A function of the query raised an error, whose words are left out, as they may quote a row: run the query there"
)
_LOGIN = (
    "authentication failed",
    "does not exist",
    "no password supplied",
    "no pg_hba.conf entry",
    "invalid connection option",
    "invalid port number",
    "SSL error",
    "server does not support SSL",
    "is not permitted to log in",
    "permission denied",
)
"""Words of a failed connection, which has no SQLSTATE, that only a person can fix; others may pass."""
_FULL = ("too many clients", "too many connections", "connection slots", "no more connections allowed")
"""Words of SQLSTATE 53300, from the server or from the pool before it. They name roles and databases too."""


def query_canceled() -> ExportError:
    """Make the error that a reader gets once its query was canceled."""
    return transient("QUERY_CANCELED", "The query was canceled")


def postgresql_fault(error: psycopg.Error) -> ExportError:
    """Return the ExportError for an error of PostgreSQL or its driver; values that it quotes of rows are left out."""
    state = error.sqlstate
    if state is None:
        return _connection_fault(error)
    if state == _CANCELED:
        return query_canceled()
    message = error.diag.message_primary or str(error)
    hint = error.diag.message_hint
    if "multiple commands" in message:
        return configuration("NOT_ONE_QUERY", "Write one SELECT: the query holds 2 statements or more")
    if state == _READ_ONLY:
        message += ": a source is only read"
    elif state.startswith(_OF_FUNCTIONS) or "function" in (error.diag.context or ""):  # which may name any state
        message, hint = _UNTOLD, None
    elif not state.startswith(_OF_THE_SERVER) and (state.startswith(_DATA) or not _is_of_the_text(error)):
        message, hint = hide_values(message), None
    text = f"{message}. {hint}" if hint else message
    return transient(state, text) if state.startswith(_PASSING) else configuration(state, text)


def _is_of_the_text(error: psycopg.Error) -> bool:
    """Whether an error was found in the text of the query, before any row was read: it then has a place in it.

    What is parsed later, for a row (``v::regtype``), has a place in that and a context.
    """
    return error.diag.statement_position is not None and error.diag.context is None


def _connection_fault(error: psycopg.Error) -> ExportError:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, psycopg.DataError):  # the driver could not make a Python value of what came
        return configuration("VALUE_NOT_SUPPORTED", "A value of the result is out of range: cast its column to text")
    if any(word in text for word in _FULL):
        return transient("53300", f"{text}: the server has no connection left; raise its limit, or run less at once")
    if isinstance(error, psycopg.ProgrammingError | psycopg.NotSupportedError) or any(word in text for word in _LOGIN):
        return configuration("CONNECTION_REFUSED", text)
    return transient("CONNECTION_LOST", text)

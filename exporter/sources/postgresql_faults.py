"""What PostgreSQL's errors ask for, by SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html."""

import re

import psycopg

from exporter.failures import ExportError, configuration, transient

_PASSING = ("08", "40", "53", "55", "57", "58")
"""Connection, rollback, resources, object in use, operator intervention, system: it may pass."""
_CANCELED = "57014"
_READ_ONLY = "25006"
_DATA = "22"
_QUOTED = re.compile(r"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'")
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
"""Words of a failed connection, which has no SQLSTATE, that only a person can mend; others may pass."""


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
    if state.startswith(_DATA):
        message, hint = _QUOTED.sub("'…'", message), None
    elif state == _READ_ONLY:
        message += ": a source is only read"
    text = f"{message}. {hint}" if hint else message
    return transient(state, text) if state.startswith(_PASSING) else configuration(state, text)


def _connection_fault(error: psycopg.Error) -> ExportError:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, psycopg.DataError):  # the driver could not make a Python value of what came
        return configuration("VALUE_NOT_SUPPORTED", "A value of the result is out of range: cast its column to text")
    if isinstance(error, psycopg.ProgrammingError | psycopg.NotSupportedError) or any(word in text for word in _LOGIN):
        return configuration("CONNECTION_REFUSED", text)
    return transient("CONNECTION_LOST", text)

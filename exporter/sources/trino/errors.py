"""What the failures of a Trino cluster and of the way to it ask for.

https://trino.io/docs/current/develop/client-protocol.html; errors have the names of io.trino.spi.StandardErrorCode.
"""

import re
import ssl
from typing import TypeVar

import requests
import trino

from exporter.failures import ExportError, configuration, transient
from exporter.http.calls import BrokenAnswerError
from exporter.sources.trino.http_session import OtherHostError, PlainUriError

_CANCELED = frozenset({"USER_CANCELED"})
_PASSING_ERRORS = frozenset({"ADMINISTRATIVELY_KILLED", "ADMINISTRATIVELY_PREEMPTED", "QUERY_REJECTED"})
"""Errors that Trino blames on the user, and that may pass all the same."""
_STATUS = re.compile(r"error (\d{3})")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\{.*\}|\[.*\]")
_PLAIN_ANSWERS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
"""What OpenSSL makes of an answer in plain text: older ones say the first, newer ones the second."""
_LONGEST = 500
_UNAUTHORIZED = (401, 403)
_TOO_MANY = 429
_SERVER_FAULT = 500
_DEEPEST = 20


def query_canceled() -> ExportError:
    """Make the error that a reader gets once its query was canceled."""
    return transient("QUERY_CANCELED", "The query was canceled")


def trino_fault(error: Exception) -> ExportError:
    """Return the ExportError for an error of the cluster or its client; values that it quotes of rows are left out."""
    if isinstance(error, trino.exceptions.TrinoQueryError):
        return _query_fault(error)
    if _cause(error, PlainUriError):
        return configuration(
            "PLAIN_HTTP",
            "Trino names its pages by http://: set http-server.process-forwarded=true there, for the proxy before it",
        )
    if other := _cause(error, OtherHostError):
        return configuration(
            "OTHER_HOST",
            f"Trino names its pages at another host ({other}), which would get the password: set host to that one, or "
            "have the proxy before the cluster pass on the Host header",
        )
    if certificate := _cause(error, ssl.SSLCertVerificationError):
        return configuration(
            "CERTIFICATE_REFUSED",
            f"The cluster's certificate is not trusted here: {certificate.verify_message}; see ca_file",
        )
    if (encryption := _cause(error, ssl.SSLError)) and encryption.reason in _PLAIN_ANSWERS:
        return configuration(
            "NO_TLS",
            'What answers at this host and port speaks no TLS: for a cluster with plain HTTP set http_scheme = "http", '
            "else correct host and port",
        )
    return _call_fault(error)


def _call_fault(error: Exception) -> ExportError:
    if match := _STATUS.search(str(error)):
        return _answer_fault(int(match[1]))
    if isinstance(error, BrokenAnswerError | AttributeError | TypeError | RecursionError):
        return transient("UNREADABLE_ANSWER", "Trino answered what cannot be read")
    if isinstance(error, requests.exceptions.InvalidURL):
        return configuration("URL", "host and port make no URL: correct them")
    if isinstance(error, trino.exceptions.Error | requests.exceptions.RequestException):
        return transient("CONNECTION_LOST", _one_line(error))
    return configuration(
        "NO_TRINO", "What answers at this host and port is no Trino: correct host, port and http_scheme"
    )


def _query_fault(error: "trino.exceptions.TrinoQueryError") -> ExportError:
    name, text = error.error_name or "TRINO_ERROR", " ".join(str(error.message).split())[:_LONGEST]
    if name in _CANCELED:
        return query_canceled()
    if error.error_location is None:  # found while rows were read, so what it quotes may be of them
        text = _QUOTED.sub("'…'", text)
    is_of_the_user = error.error_type == "USER_ERROR" and name not in _PASSING_ERRORS
    return configuration(name, text) if is_of_the_user else transient(name, text)


def _answer_fault(status: int) -> ExportError:
    if status in _UNAUTHORIZED:
        return configuration(f"HTTP_{status}", f"Trino refused the login with {status}: correct user and password")
    if status >= _SERVER_FAULT or status == _TOO_MANY:
        return transient(f"HTTP_{status}", f"Trino answered {status}")
    return configuration(f"HTTP_{status}", f"Trino refused the call with {status}: correct host, port and http_scheme")


_Wanted = TypeVar("_Wanted", bound=BaseException)


def _cause(error: BaseException | None, wanted: type[_Wanted]) -> _Wanted | None:
    """Return what is of a kind among the errors that one was made of, whichever way each holds the next."""
    for _ in range(_DEEPEST):
        if error is None or isinstance(error, wanted):
            return error
        held = [getattr(error, "reason", None), *error.args]
        inner = next((each for each in held if isinstance(each, BaseException)), None)
        error = inner or error.__cause__ or error.__context__
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST] or type(error).__name__

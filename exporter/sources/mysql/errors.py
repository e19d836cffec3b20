"""What the errors of MySQL and MariaDB ask for, by their numbers.

https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html, https://mariadb.com/kb/en/mariadb-error-codes/.
"""

import re
import ssl

import pymysql
from pymysql.constants import CR, ER

from exporter.failures import ExportError, configuration, transient

_NAMES = {number: name for name, number in vars(ER).items() if name.isupper() and not name.startswith("ERROR_")}
_NAMES |= {number: name for name, number in vars(CR).items() if name.startswith("CR_") and name != "CR_ERROR_FIRST"}
_NAMES |= {1690: "DATA_OUT_OF_RANGE", 3141: "INVALID_JSON_TEXT_IN_PARAM", 4038: "JSON_SYNTAX"}  # the driver lacks them
_INTERRUPTED = 1317
_READ_ONLY = 1792
_CLIENT_ERRORS = range(2000, 3000)
_PASSING = frozenset(
    {
        1020,  # a record has changed since it was read
        1021,  # disk full
        1037,  # out of memory
        1038,  # out of sort memory
        1040,  # too many connections
        1041,  # out of resources
        1053,  # shutdown
        1077,  # the same, normal
        1079,
        1114,  # table (of the engine's own making) full
        1135,  # no thread can be made
        1152,  # aborted connection
        1158,  # communication packets
        1159,
        1160,
        1161,
        1180,  # error during commit
        1184,  # aborted connection
        1203,  # too many connections of the user
        1205,  # lock wait
        1206,  # lock table full
        1213,  # deadlock
        1226,  # a limit of the user, for an hour
        1290,  # the server runs with an option that forbids it, as during a switch-over
        1412,  # table definition has changed
        1613,  # transaction rolled back by a timeout
        1614,
        1637,  # too many active transactions
        1836,  # read-only mode
        1927,  # connection was killed
        1969,  # max_statement_time (MariaDB)
        3024,  # max_execution_time (MySQL)
        3058,  # deadlock in locks of the user's
        3169,  # session was killed
        3572,  # lock that nobody waits for
        4031,  # disconnected for being idle
    }
)
_OF_THE_TEXT = frozenset({"42000", "42S02", "42S22", "42S21", "3D000", "HY009", "21000"})
"""SQLSTATEs of errors that quote the query, not its rows."""
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_LOGIN_FAULTS = frozenset({2026, 2027, 2049, 2054, 2058, 2059, 2061})
"""Errors of the client that only a person can fix: encryption, protocol, login plugins."""
_COLUMN_NAME = frozenset({1166, 1280})


def query_canceled() -> ExportError:
    """Make the error that a reader gets once its query was canceled."""
    return transient("QUERY_CANCELED", "The query was canceled")


def mysql_fault(error: pymysql.Error) -> ExportError:
    """Return the ExportError for an error of the server or its driver; values that it quotes of rows are left out."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = " ".join(str(error.args[1] if len(error.args) > 1 else error).split())
    if number == 0 or number in _CLIENT_ERRORS:
        return _connection_fault(error, number, text)
    if number == _INTERRUPTED:
        return query_canceled()
    if number == _READ_ONLY:
        return configuration("QUERY_WRITES", "The query writes: a source is only read")
    if number in _COLUMN_NAME:
        return configuration("COLUMN_WITHOUT_NAME", f"A column of the query has no name: add AS name ({text})")
    if getattr(error, "sqlstate", None) not in _OF_THE_TEXT and number not in _PASSING:
        text = _QUOTED.sub("'…'", text)
    code = _code(number)
    return transient(code, text) if number in _PASSING else configuration(code, text)


def _code(number: int) -> str:
    """Return MySQL's own symbol of an error, such as ``ER_NO_SUCH_TABLE``."""
    name = _NAMES.get(number, str(number))
    return name if name.startswith("CR_") else f"ER_{name}"


def _connection_fault(error: pymysql.Error, number: int, text: str) -> ExportError:
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return configuration(
            "CERTIFICATE_REFUSED", f"The server's certificate is not trusted here: {cause.verify_message}; see ca_file"
        )
    if number in _LOGIN_FAULTS:
        return configuration("CONNECTION_REFUSED", text)
    return transient("CONNECTION_LOST", text or type(error).__name__)

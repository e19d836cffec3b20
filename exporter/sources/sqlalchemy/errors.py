"""What the errors of SQLAlchemy and of the drivers below it ask for.

A driver that schedctl knows is asked for its own rules; of any other, the SQLSTATE decides, or the kind of error that
every Python driver has by PEP 249.
"""

import re
import sqlite3

from sqlalchemy import exc

from exporter.failures import ExportError, configuration, transient

_PASSING = ("08", "40", "53", "55", "57", "58", "HYT")
"""Connection, rollback, resources, object in use, operator intervention, system, time-out: it may pass."""
_DATA = "22"
_LOGIN = ("28", "3D")
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_QUOTED = re.compile(r"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'")
_EXTRAS = {"psycopg": "postgresql", "pymysql": "mysql", "trino": "trino"}
"""Drivers that an extra of schedctl's brings."""
_INSTEAD = {"MySQLdb": ("mysql", "mysql+pymysql://"), "psycopg2": ("postgresql", "postgresql+psycopg://")}
"""Drivers that SQLAlchemy takes where the url names none, and the extra and the url that do the same."""
_PACKAGES = {
    "mariadb": "mariadb",
    "mysql": "mysql-connector-python",
    "oracledb": "oracledb",
    "pg8000": "pg8000",
    "pymssql": "pymssql",
    "pyodbc": "pyodbc",
}
"""Other drivers, and the packages that have them."""


def query_canceled() -> ExportError:
    """Make the error that a reader gets once its query was canceled."""
    return transient("QUERY_CANCELED", "The query was canceled")


def driver_missing(error: ModuleNotFoundError) -> ExportError:
    """Make the error of a driver that is not installed, with the line that installs it."""
    name = (error.name or "its driver").partition(".")[0]
    if name in _EXTRAS:
        how = f"pip install 'schedctl[{_EXTRAS[name]}]'"
    elif name in _INSTEAD:
        extra, url = _INSTEAD[name]
        how = f"pip install 'schedctl[{extra}]' and let the url begin with {url}"
    elif name in _PACKAGES:
        how = f"pip install {_PACKAGES[name]}"
    else:
        how = f"install the package that has {name} beside schedctl"
    return configuration("DRIVER_MISSING", f"This url needs {name}, which is not installed: {how}")


def dialect_missing(name: str) -> ExportError:
    """Make the error of a url whose dialect (and driver) SQLAlchemy does not know."""
    backend = name.partition("+")[0]
    if backend == "postgres":
        how = "let the url begin with postgresql+psycopg://"
    elif backend in _EXTRAS:
        how = f"pip install 'schedctl[{_EXTRAS[backend]}]'"
    else:
        how = "correct the url, or install its dialect"
    return configuration("DRIVER_MISSING", f"SQLAlchemy knows no {name}: {how}")


def sqlalchemy_fault(error: exc.SQLAlchemyError, sql: str) -> ExportError:
    """Return the ExportError for an error of a query; values of rows are left out."""
    if not isinstance(error, exc.DBAPIError) or error.orig is None:
        return configuration("QUERY_REFUSED", f"SQLAlchemy cannot run this: {type(error).__name__}")
    return driver_fault(error.orig, sql, lost=error.connection_invalidated)


def driver_fault(error: BaseException, sql: str, *, lost: bool = False) -> ExportError:
    """Return the ExportError for an error of a driver; ``lost`` says that SQLAlchemy takes the connection for gone."""
    known = _known_driver(error, sql)
    if known is not None:
        return known
    kind, text = type(error).__name__, " ".join(str(error).split()) or type(error).__name__
    state = _state(error)
    if lost or (state or "").startswith("08"):
        return transient("CONNECTION_LOST", text)
    if state is None:
        hidden = _QUOTED.sub("'…'", text) if kind in ("DataError", "IntegrityError") else text
        passing = kind in ("OperationalError", "InterfaceError", "InternalError")
        return transient("DRIVER_ERROR", hidden) if passing else configuration("DRIVER_ERROR", hidden)
    if state.startswith(_DATA):
        text = _QUOTED.sub("'…'", text)
    return transient(state, text) if state.startswith(_PASSING) else configuration(state, text)


def _known_driver(error: BaseException, sql: str) -> ExportError | None:
    if isinstance(error, sqlite3.Error):
        from exporter.sources.sqlite.source import sqlite_fault  # noqa: PLC0415 - for those who use it

        return sqlite_fault(error, sql)
    match type(error).__module__.partition(".")[0]:
        case "psycopg":
            from exporter.sources.postgresql.errors import postgresql_fault  # noqa: PLC0415 - an extra

            return postgresql_fault(error)  # type: ignore[arg-type] # it comes from that package
        case "pymysql":
            from exporter.sources.mysql.errors import mysql_fault  # noqa: PLC0415 - an extra

            return mysql_fault(error)
        case "trino":
            from exporter.sources.trino.errors import trino_fault  # noqa: PLC0415 - an extra

            return trino_fault(error)  # type: ignore[arg-type] # the same
        case _:
            return None


def _state(error: BaseException) -> str | None:
    """Return the SQLSTATE that a driver's error has: as an attribute, or (ODBC) as its first argument."""
    values = [getattr(error, name, None) for name in ("sqlstate", "pgcode")]
    values += list(error.args[:1])
    return next((value for value in values if isinstance(value, str) and _SQLSTATE.fullmatch(value)), None)

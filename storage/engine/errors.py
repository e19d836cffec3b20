"""What leaves this package when the database does not do what it should, and how it is recognised."""

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_SQLITE = {
    "SQLITE_BUSY": ("BUSY", "another process kept it locked; try again"),
    "SQLITE_LOCKED": ("BUSY", "another process kept it locked; try again"),
    "SQLITE_FULL": ("FULL", "the disk is full; free some space"),
    # Quotas and file size limits do not come as SQLITE_FULL (os_unix.c: only ENOSPC does).
    "SQLITE_IOERR_WRITE": ("FULL", "the disk refuses to be written to; free some space, or lift the quota"),
    "SQLITE_IOERR_FSYNC": ("FULL", "the disk refuses to be written to; look into the system's log"),
    "SQLITE_CORRUPT": ("DAMAGED", "the file is damaged; move it away, or put a backup in its place"),
    "SQLITE_NOTADB": ("DAMAGED", "the file is no SQLite database; move it away, or put a backup in its place"),
    "SQLITE_CANTOPEN": ("NOT_PERMITTED", "the file cannot be opened; check its path, owner and mode"),
    "SQLITE_READONLY": ("NOT_PERMITTED", "it cannot be written to; check the owner and mode of file and directory"),
    "SQLITE_PERM": ("NOT_PERMITTED", "access was refused; check the owner and mode of file and directory"),
    "SQLITE_IOERR": ("UNREACHABLE", "the disk failed; look into the system's log"),
}
"""SQLite's extended result code by name, longest match first, to our code and what to change."""

_POSTGRESQL = {
    "53100": ("FULL", "the server's disk is full; free some space there"),
    "53300": ("BUSY", "the server has no connection left; raise max_connections or try again"),
    "42501": ("NOT_PERMITTED", "the user lacks a right; grant it CREATE and all rights on its tables"),
    "25006": ("NOT_PERMITTED", "the server is read-only; name the primary in [storage] url"),
    "28": ("NOT_PERMITTED", "the server refused the login; check user and password in [storage] url"),
    "3D": ("UNREACHABLE", "database not found; create it, or correct [storage] url"),
    "08": ("UNREACHABLE", "the connection was lost; check that the server runs"),
    "57P": ("UNREACHABLE", "the server is stopping or starting; try again"),
    "25P03": ("UNREACHABLE", "the server ended a transaction that stood idle for too long"),
    "40": ("BUSY", "another transaction was in the way; try again"),
    "55P03": ("BUSY", "another transaction held a lock for too long; try again"),
    "57014": ("BUSY", "the server gave up on a statement that took too long; try again"),
    "XX": ("DAMAGED", "the server reports damaged data; look into its log"),
}
"""SQLSTATE or its beginning, longest match first, to our code and what to change."""

_POSTGRESQL_WORDS = {
    "too many clients": "53300",
    "too many connections": "53300",
    "connection slots": "53300",
    "no more connections allowed": "53300",
    "the database system is": "57P",
    "authentication failed": "28",
    "no password supplied": "28",
    "no pg_hba.conf entry": "28",
    "role": "28",
    "database": "3D",
}
"""What a server, or the pool before it, says when it refuses a connection, for which psycopg gives no SQLSTATE.

The first that occurs counts: those that name roles or databases besides come first.
"""


class StorageError(Exception):
    """The one error of this package that a person has to hear of.

    ``code`` is ``UNREACHABLE``, ``GONE`` (the file in use is no longer at its path), ``NEWER``, ``DAMAGED``,
    ``FULL``, ``BUSY``, ``DRIVER_MISSING``, ``NOT_PERMITTED``, ``BAD_URL`` (no address that schedctl can use),
    ``FOREIGN`` (the database belongs to something else) or
    ``INTERNAL``. ``message`` is one line that names the database, without its password, and what to change.
    """

    def __init__(self, code: str, message: str) -> None:
        """Keep ``message`` to one line, whatever the driver said."""
        self.code = code
        self.message = " ".join(message.split())
        super().__init__(self.message)


class ClaimLost(Exception):  # noqa: N818 - a normal answer between processes, not a fault
    """The run is no longer this process's: another one has its claim, or it is settled. Write and send nothing more."""

    def __init__(self, run_id: int) -> None:
        """Name the run."""
        self.run_id = run_id
        super().__init__(f"the claim on run {run_id} is no longer ours")


def from_sqlalchemy(error: SQLAlchemyError, *, name: str, password: str | None) -> Exception:
    """Turn SQLAlchemy's error into a :class:`StorageError` on the database called ``name``.

    A value that could not be bound at all (a document that is no JSON, say) stays the ValueError or TypeError it was.
    """
    cause = error.orig if isinstance(error, StatementError) else None
    if isinstance(cause, (ValueError, TypeError)) and not isinstance(error, DBAPIError):
        return cause
    detail = str(cause or error).strip().split("\n", 1)[0]
    if password:
        detail = detail.replace(password, "***")
    code, advice = _recognise(error, cause)
    return StorageError(code, f"the state database {name}: {advice} ({detail})")


def _recognise(error: SQLAlchemyError, cause: BaseException | None) -> tuple[str, str]:
    if isinstance(error, PoolTimeoutError):
        return "BUSY", "all of this process's connections are in use; try again"
    sqlite = getattr(cause, "sqlite_errorname", None)
    if isinstance(sqlite, str):
        return _longest_match(_SQLITE, sqlite) or ("INTERNAL", f"an unexpected error, {sqlite}")
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        return _longest_match(_POSTGRESQL, state) or ("INTERNAL", f"an unexpected error, SQLSTATE {state}")
    # psycopg gives no SQLSTATE when it never got as far as a server, or when the server went away in the middle.
    if isinstance(error, DBAPIError) and type(cause).__name__ in {"OperationalError", "ConnectionTimeout"}:
        refusal = str(cause).rpartition("FATAL:")
        words = [state for word, state in _POSTGRESQL_WORDS.items() if refusal[1] and word in refusal[2]]
        if words:
            return _POSTGRESQL[words[0]]
        return "UNREACHABLE", "the server cannot be reached; check that it runs, and [storage] url"
    return "INTERNAL", "an unexpected error"


def _longest_match(table: dict[str, tuple[str, str]], key: str) -> tuple[str, str] | None:
    matches = [prefix for prefix in table if key.startswith(prefix)]
    return table[max(matches, key=len)] if matches else None

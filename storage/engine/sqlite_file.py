"""The file of a SQLite state database: made if it is missing, private, and opened by one process after the other."""

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Engine

from storage.engine.errors import StorageError
from storage.engine.pool import PATIENCE, outside_transactions

_POLL = 0.02


def is_there(path: Path, name: str) -> bool:
    """Whether the file is there; StorageError if that cannot be told, as in a directory of another user's."""
    try:
        return path.is_file()
    except OSError as error:
        raise from_os(error, path, name) from error


def make_file(path: Path, name: str) -> None:
    """Make the file, mode 0600, and its directory, mode 0700, where they are missing; StorageError if that fails.

    An existing file is not opened here: closing it again would drop the locks that SQLite holds for this process
    (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            if not path.is_file():
                raise StorageError("BAD_URL", f"the state database {name}: {path} is no file; name a file in it")
            return
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not path.parent.is_dir():
            message = f"the state database {name}: {path.parent} is no directory; name another path"
            raise StorageError("BAD_URL", message) from None
        # Another process made it in this moment.
    except OSError as error:
        raise from_os(error, path, name) from error


@contextmanager
def turn(path: Path, name: str) -> Iterator[None]:
    """Wait for the directory's lock and hold it: the journal mode and the schema are changed by one process at a time.

    The lock is on the directory, so it leaves no file behind and touches none of SQLite's own locks.
    """
    deadline = time.monotonic() + PATIENCE
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise from_os(error, path.parent, name) from error
    try:
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = f"the state database {name} is being set up by another process; try again"
                    raise StorageError("BUSY", message) from None
                time.sleep(_POLL)
        yield
    finally:
        os.close(directory)


def use_wal(engine: Engine, name: str) -> None:
    """Switch the file to write-ahead logging, which it then keeps: readers and the writer do not stop each other."""
    with outside_transactions(engine).connect() as connection:
        if connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal":
            return
        if connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar() == "wal":
            return
    message = f"the state database {name}: its file system cannot hold a WAL file; use a local disk"
    raise StorageError("NOT_PERMITTED", message)


def identity(path: Path) -> tuple[int, int] | None:
    """Tell which file this is, so that another one in its place, or none, can be noticed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def back_up(path: Path, copy: Path) -> None:
    """Copy the database as it was last committed to ``copy``, mode 0600, whole or not at all; replaces an older one."""
    unfinished = copy.with_name(copy.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as target:
        source.backup(target)
    unfinished.replace(copy)


def from_os(error: OSError, path: Path, name: str) -> StorageError:
    """Turn what the system says of ``path`` into a StorageError on the database called ``name``."""
    reason = f"{error.strerror}: {error.filename or path}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError("FULL", f"the state database {name} cannot be made; free some space ({reason})")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        message = f"the state database {name} cannot be made or opened; check the directory's owner and mode ({reason})"
        return StorageError("NOT_PERMITTED", message)
    return StorageError("BAD_URL", f"the state database {name} cannot be made; name another path ({reason})")

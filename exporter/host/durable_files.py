"""Writing to disk so that it stays written, and what a disk that refuses means for the user."""

import errno
import os
from pathlib import Path

from exporter.failures import ExportError, configuration, transient

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP}
)


def disk_fault(error: OSError, directory: Path) -> ExportError:
    """Say what ``error``, met while writing below ``directory``, asks for.

    A full disk is transient (``DISK_FULL``), a directory that may not be written is configuration
    (``DIRECTORY_NOT_WRITABLE``), everything else is transient (``DISK_ERROR``).
    """
    reason = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return transient("DISK_FULL", f"No room to write below {directory} ({reason}): make room there")
    if error.errno in _REFUSED:
        return configuration(
            "DIRECTORY_NOT_WRITABLE", f"Cannot write below {directory} ({reason}): name another or give us rights"
        )
    return transient("DISK_ERROR", f"Cannot use {directory} ({reason})")


def make_directory(directory: Path, *, mode: int = 0o700) -> None:
    """Make ``directory`` and its missing parents durably, by default for their owner alone. It may exist already."""
    if directory.is_dir():
        return
    make_directory(directory.parent, mode=mode)
    directory.mkdir(mode=mode, exist_ok=True)
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in ``directory`` (files made, renamed, removed) outlive a crash of the machine."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_file(path: Path, *, mode: int = 0o600) -> int:
    """Make a new file, by default for its owner alone, and return its descriptor; one that exists is an OSError."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write every byte: a disk that fills up may take only some of them in one call."""
    rest = memoryview(content).cast("B")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def check_room(descriptor: int, size: int, *, keep_free: int) -> None:
    """Raise OSError, as a full disk does, if ``size`` more bytes in an open file would leave less than that free."""
    found = os.fstatvfs(descriptor)
    if found.f_bavail * found.f_frsize < size + keep_free:
        raise OSError(
            errno.ENOSPC, f"its last {keep_free // 1_000_000} MB are left to others, such as the state database"
        )

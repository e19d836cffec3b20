"""Reading files that people name: what is no regular file, or has no end, is refused at once.

Opening a pipe waits for somebody who writes to it, reading a device may never end, and opening one may do something.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
}
MOST_BYTES = 8 * 2**20
"""More than any file that a person writes: a config of 5,000 jobs takes 2 MB. Parsing so much takes some seconds."""


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file to read bytes. Raises OSError whose ``strerror`` says what else it is."""
    _check_kind(path, os.stat(path).st_mode)  # noqa: PTH116 - Path.stat says less of a path with a NUL
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY))  # noqa: SIM115 - Path.open takes no opener; who asks closes it
    try:
        _check_kind(path, os.fstat(file.fileno()).st_mode)
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """Return what a regular file holds. Raises OSError, also for one of more than ``most`` bytes."""
    with open_regular(path) as file:
        return read_bounded(file, path, most=most)


def read_text(path: Path) -> str:
    """Return the text of a regular file in UTF-8, each line of which then ends with a line feed.

    Raises OSError as :func:`read_regular` does, and UnicodeDecodeError.
    """
    return read_regular(path).decode("utf-8-sig").replace("\r\n", "\n")


def is_inherited(path: Path) -> bool:
    """Whether a path stands for an open descriptor of this process, as a shell's ``<(command)`` does."""
    return str(path) == "/dev/stdin" or str(path.parent) in ("/dev/fd", "/proc/self/fd")


def read_given(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """Return what a file named on the command line holds, once: also a shell's ``<(command)``, which is a pipe.

    Raises OSError, as :func:`read_regular` does.
    """
    if not is_inherited(path):
        return read_regular(path, most=most)
    with path.open("rb") as file:
        return read_bounded(file, path, most=most)


def read_bounded(file: BinaryIO, path: Path, *, most: int = MOST_BYTES) -> bytes:
    """Return the rest of an open file. Raises OSError where that is more than ``most`` bytes."""
    content = file.read(most + 1)
    if len(content) > most:
        size = f"{most // 2**20} MiB" if most >= 2**20 else f"{most // 2**10} KiB"
        raise OSError(errno.EFBIG, f"it is larger than {size}", str(path))
    return content


def _check_kind(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, f"it is {kind}, not a regular file", str(path))

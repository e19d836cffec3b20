"""The standard streams of the process, so that whatever they are, a command ends with its data or with one error."""

import io
import os
import sys
from pathlib import Path

from exporter.host.regular_files import read_given
from scheduler.errors.operation_error import OperationError, failed, usage

_STANDARD = 3
"""How many descriptors are the standard streams: 0, 1 and 2."""
MOST_IMPORTED = 2**26
"""Bytes of a file to import: a list of 20,000 workflows with their queries takes a third of it."""


class Stdout(io.TextIOWrapper):
    """Text as data for others: what the encoding lacks becomes an escape, and what cannot be written one error.

    Writing and flushing raise BrokenPipeError where the reader has gone, and failed for anything else.
    """

    def write(self, text: str) -> int:
        """Write, or raise."""
        try:
            return super().write(text)
        except OSError as error:
            raise _told(error) from error

    def flush(self) -> None:
        """Flush, or raise."""
        try:
            super().flush()
        except OSError as error:
            raise _told(error) from error


def prepare() -> None:
    """Put the streams in order, once, before the command line is looked at."""
    if sys.stdout is None or sys.stderr is None or sys.stdin is None:
        _fill_descriptors()
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
    if sys.stderr is None:  # print would take stdout for it
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - the same
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - the same
    if isinstance(sys.stdout, io.TextIOWrapper):
        old = sys.stdout
        encoding, by_line, through = old.encoding, old.line_buffering, old.write_through
        sys.stdout = Stdout(
            old.detach(), encoding=encoding, errors="backslashreplace", line_buffering=by_line, write_through=through
        )


def drop_stdout() -> None:
    """Let what is still to be written go nowhere: Python would complain once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def drop_stderr_if_broken() -> None:
    """Let what stderr cannot take go nowhere: Python would make exit code 120 of it, whatever the command did."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _fill_descriptors() -> None:
    """Take the numbers of closed streams, so that no file that is opened later gets them and what is printed.

    They are open for reading only: writing to them fails, as it should.
    """
    while (number := os.open(os.devnull, os.O_RDONLY)) < _STANDARD:
        os.set_inheritable(number, True)  # noqa: FBT003 - its only argument
    os.close(number)


def read_text(file: Path) -> str:
    """Return the text of a file that was named on the command line, ``-`` for stdin. Raises a usage error."""
    try:
        return sys.stdin.read() if str(file) == "-" else read_given(file, most=MOST_IMPORTED).decode("utf-8-sig")
    except OSError as error:
        raise usage(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise usage(f"{file} is not valid UTF-8") from error


def _told(error: OSError) -> OSError | OperationError:
    return error if isinstance(error, BrokenPipeError) else failed(f"stdout cannot be written: {error.strerror}")

"""A table more in the user's config file: checked as a whole first, then written at once, or not at all."""

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from exporter.host.regular_files import read_regular
from scheduler.config.build import Config, build
from scheduler.config.files import read
from scheduler.config.line_numbers import key_lines, line_of
from scheduler.config.writer import with_section
from scheduler.errors.operation_error import failed
from scheduler.errors.setting_faults import ConfigError
from scheduler.secrets.resolve import mask


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A config file as it is, as it would be, what that would mean, and the line on which what is new begins."""

    path: Path
    before: str
    after: str
    config: Config
    line: int | None

    def diff(self) -> str:
        """Return the change as a unified diff, without the secrets of the lines around it."""
        before, after = self.before.splitlines(), self.after.splitlines()
        return mask("\n".join(unified_diff(before, after, str(self.path), str(self.path), lineterm="")))


def draft(path: Path, kind: str, name: str, values: Mapping[str, Any]) -> Draft:
    """Put ``[kind.name]`` at the end of a sound config file, and check the whole.

    Raises ConfigError with the faults of what is new, and failed where the file has no room for another table.
    """
    before = _text(path)
    after = with_section(before, kind, name, values)
    try:
        config = build(read(path, as_if=after))
    except ConfigError as error:
        if not any(fault.keys[:2] == (kind, name) for fault in error.faults):
            why = f"[{kind}.{name}] cannot be put at the end of {path}: {error.faults[0].message}"
            raise failed(f"{why}; write it where {kind} is") from error
        raise
    line = line_of(key_lines(after.removeprefix("\ufeff")), (kind, name))  # some editors begin a file with that mark
    return Draft(path=path, before=before, after=after, config=config, line=line)


def store(found: Draft) -> None:
    """Write the draft in the file's place, with its mode and owner. Raises failed, and then nothing has changed."""
    path = found.path.resolve()  # the file that a link points to, not the link
    try:
        status = path.stat()
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(found.after.encode())
                file.flush()
                os.fchmod(file.fileno(), status.st_mode & 0o7777)
                with suppress(PermissionError):  # only root gives files away
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
                os.fsync(file.fileno())
            _require(found)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise failed(f"{found.path} cannot be written: {error.strerror}") from error


def _require(found: Draft) -> None:
    if _text(found.path) != found.before:
        raise failed(f"somebody else changed {found.path} meanwhile; nothing was written, try again")


def _text(path: Path) -> str:
    try:
        return read_regular(path).decode("utf-8")
    except OSError as error:
        raise failed(f"{path} cannot be read: {error.strerror}") from error

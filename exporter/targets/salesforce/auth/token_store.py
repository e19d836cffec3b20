"""The file that keeps a refresh token: private, written so that no crash loses one, used by one process at a time."""

import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from exporter.failures import ExportError, configuration, transient
from exporter.host.regular_files import open_regular

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_ROOM = 16_384
"""Bytes laid out before a token is asked for: a full disk must be noticed while the old token is still good."""
_LOOK_AGAIN = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptToken:
    """A refresh token, the app that it was given to, and whose it is. ``replaces`` marks the token before it."""

    refresh_token: str = field(repr=False)
    client_id: str
    username: str | None = None
    replaces: str | None = None

    def rotated(self, refresh_token: str) -> "KeptToken":
        """Return what is kept once Salesforce gave another token for this one."""
        return replace(self, refresh_token=refresh_token, replaces=_mark(self.refresh_token))


class TokenFile:
    """A refresh token at ``path``. ``command`` is what a person has to run where there is none.

    What root writes belongs to whom the directory belongs, so that a check by root locks no daemon out. Every method
    raises configuration ``NOT_LOGGED_IN`` or ``TOKEN_FILE``; no message holds a token.
    """

    def __init__(self, path: Path, *, command: str) -> None:
        self._path = path
        self._draft = path.with_name(f"{path.name}.new")
        self._command = command

    def make_directory(self) -> None:
        """Make the directory, for its owner alone, if there is none."""
        directory = self._path.parent
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                directory.mkdir(mode=0o700)
                if os.geteuid() == 0:
                    owner = directory.parent.stat()
                    os.chown(directory, owner.st_uid, owner.st_gid)
        except OSError as error:
            raise self._fault(directory, "cannot be made", error) from error

    @contextmanager
    def locked(self, patience: float) -> Iterator[None]:
        """Keep all others off the token, in this process and elsewhere, until the block ends.

        Raises transient ``TOKEN_BUSY`` after ``patience`` seconds.
        """
        lock = self._path.with_name(f"{self._path.name}.lock")
        try:
            handle = self._open(lock, os.O_RDWR)
        except FileNotFoundError as error:
            raise self._nobody() from error
        except OSError as error:
            raise self._fault(lock, "cannot be opened", error) from error
        try:
            limit = time.monotonic() + patience
            while not _take(handle):
                if time.monotonic() > limit:
                    raise transient("TOKEN_BUSY", f"another process has held {lock} for {patience:.0f} s")
                time.sleep(_LOOK_AGAIN)
            yield
        finally:
            os.close(handle)

    def read(self) -> KeptToken:
        """Return what is kept; finishes first what a killed process had begun to write. Only while :meth:`locked`."""
        kept = self._read(self._path)
        if kept is None:
            raise self._nobody()
        try:
            newer = self._read(self._draft)
        except ExportError:  # cut short: the token was not there yet
            return kept
        if newer is None or newer.replaces != _mark(kept.refresh_token):
            return kept
        try:
            self._put_in_place()
        except OSError as error:
            raise self._fault(self._path, "cannot be written", error) from error
        return newer

    @contextmanager
    def replacing(self) -> Iterator[Callable[[KeptToken], None]]:
        """Make sure that a token can be written, then let the block write one: it is durable when the call returns.

        Only while :meth:`locked`.
        """
        try:
            handle = self._open(self._draft, os.O_WRONLY | os.O_TRUNC)
        except OSError as error:
            raise self._fault(self._draft, "cannot be written", error) from error
        written = False

        def write(kept: KeptToken) -> None:
            nonlocal written
            written = True  # from here on the draft may hold the only token that is still good
            try:
                _overwrite(handle, json.dumps(asdict(kept)).encode())
                self._put_in_place()
            except OSError as error:
                raise self._fault(self._path, "cannot be written", error) from error

        try:
            try:
                _overwrite(handle, b" " * _ROOM)
            except OSError as error:
                raise self._fault(self._draft, "cannot be written", error) from error
            yield write
        finally:
            os.close(handle)
            if not written:
                self._draft.unlink(missing_ok=True)

    def _open(self, path: Path, flags: int) -> int:
        """Open a private file of this directory, made if it is not there. Raises OSError."""
        flags |= os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(path, flags | os.O_NONBLOCK, 0o600)  # a pipe would wait for somebody who reads it
        os.fchmod(handle, 0o600)
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        return handle

    def _put_in_place(self) -> None:
        self._draft.rename(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _read(self, path: Path) -> KeptToken | None:
        try:
            with open_regular(path) as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(4 * _ROOM)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._fault(path, "cannot be read", error) from error
        if mode & _OTHERS:
            message = f"others can read {path}: chmod 600 it; if somebody may have, run {self._command} again"
            raise configuration("TOKEN_FILE", message)
        try:
            found = json.loads(content)
            return KeptToken(**found) if isinstance(found["refresh_token"], str) else _no_text()
        except (ValueError, TypeError, KeyError) as error:
            raise configuration("TOKEN_FILE", f"{path} holds no refresh token: run {self._command}") from error

    def _nobody(self) -> ExportError:
        message = f"nobody has logged in yet ({self._path} is not there): run {self._command}"
        return configuration("NOT_LOGGED_IN", message)

    def _fault(self, path: Path, words: str, error: OSError) -> ExportError:
        message = (
            f"{path} {words}: {error.strerror}; run this as the daemon's user, who has to own it and its directory"
        )
        return configuration("TOKEN_FILE", message)


def _no_text() -> NoReturn:
    raise ValueError("the refresh token is no text")


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _overwrite(handle: int, content: bytes) -> None:
    """Write ``content`` over what the file holds; a crash on the way leaves spaces after it, or the old bytes."""
    os.lseek(handle, 0, os.SEEK_SET)
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]
    os.ftruncate(handle, len(content))
    os.fsync(handle)


def _mark(refresh_token: str) -> str:
    return hashlib.sha256(refresh_token.encode()).hexdigest()[:16]

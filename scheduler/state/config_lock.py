"""One daemon for a config file, whatever user and environment: an abstract UNIX socket, which its holder answers.

Its name comes from the directory of the config file and the file's name. So it needs no directory that everybody may
write to, works beside a read-only /etc, and is gone with the process that holds it, however that ends (the unix(7)
manual page). The kernel says whose process listens; :mod:`scheduler.state.location` decides whom to believe.
"""

import errno
import json
import os
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scheduler.environment.paths import config_names
from scheduler.environment.users import user_name

PATIENCE = 2.0
"""Seconds that a holder has to answer; its process may be busy, or stopped."""
RETRY = 0.05
"""Seconds until a name that is taken, but does not listen, is tried again."""
_LONGEST = 16_384
_LONGEST_KEY = 80
"""Bytes. The whole name of a socket has at most 108 (the unix(7) manual page)."""
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group of SO_PEERCRED (the unix(7) manual page)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """The process that holds a config file: ``uid`` and ``pid`` by the kernel (0: hidden from here).

    ``state`` is what it says: the URL of its state database without a password, None if it does not answer.
    """

    pid: int
    uid: int
    state: str | None

    @property
    def is_own(self) -> bool:
        """Whether it is this process."""
        return self.pid == os.getpid()

    @property
    def words(self) -> str:
        """Name the process and its user, as far as they are known."""
        process = f"process {self.pid}" if self.pid else "a process that is hidden from here"
        return f"{process}, user {user_name(self.uid)}" if self.uid >= 0 else process


_UNKNOWN = Holder(pid=0, uid=-1, state=None)


class ConfigLock:
    """Holds a config file until it is closed; made by :func:`hold_config`."""

    def __init__(self, sockets: list[socket.socket], state: str) -> None:
        self._sockets = sockets
        self._closing = threading.Event()
        self._answer = json.dumps({"state": state}).encode("utf-8", "surrogateescape")
        for each in sockets:
            threading.Thread(target=self._serve, args=[each], name="config-lock", daemon=True).start()

    def close(self) -> None:
        """Let go of the config file."""
        self._closing.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # it ends the accept() of the thread; closing alone does not
            each.close()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                caller, _ = listening.accept()
            except OSError:
                if self._closing.wait(PATIENCE):
                    return
                continue  # this process had no file descriptor left
            with caller, suppress(OSError):
                caller.settimeout(PATIENCE)
                caller.sendall(self._answer)  # it fits the socket's buffer, so nobody can keep it waiting


def hold_config(config: Path, state: str) -> ConfigLock | Holder:
    """Hold a config file for the daemon of this process, or return who holds it.

    ``state`` is the URL of the state database without its password. Raises OSError where the system has no such
    sockets.
    """
    limit = time.monotonic() + PATIENCE
    while True:
        held = _listen(config)
        if isinstance(held, list):
            return ConfigLock(held, state)
        holder = _ask(held)
        if holder is not None:
            return holder
        if time.monotonic() > limit:
            return _UNKNOWN  # it has the name and does not listen: no schedctl
        time.sleep(RETRY)  # the holder has just ended, or is about to listen


def holder_of(config: Path) -> Holder | None:
    """Return which process holds a config file as its daemon; None if none does."""
    return next(filter(None, map(_ask, _socket_names(config))), None)


def below_links(config: Path) -> list[tuple[Path, str]]:
    """Return, for each link to a directory in the path of a config file, where that link is, and the path from there.

    Both stay the same when the link is switched to another release.
    """
    given = config.absolute()
    if ".." in given.parts:
        return []
    with suppress(OSError, ValueError):
        links = [each for each in reversed(given.parents) if each.is_symlink()]
        return [(link.parent, str(given.relative_to(link.parent))) for link in links]
    return []


def _socket_names(config: Path) -> list[bytes]:
    """Return the names of the sockets: one for the file itself, and one for each link that it is named by.

    The directory counts by its device and inode: two containers on one network may have files of the same path. Below
    a link to a directory the path counts, so that a release directory that is switched is still the same.
    """
    names: dict[bytes, None] = {}
    below = [(each.parent, each.name) for each in config_names(config)]
    below += below_links(config)
    for directory, rest in below:
        with suppress(OSError, ValueError):
            found = directory.stat()
            key = f"{found.st_dev}:{found.st_ino}:{rest}".encode("utf-8", "surrogateescape")
            if len(key) > _LONGEST_KEY:
                from hashlib import sha256  # noqa: PLC0415 - OpenSSL, which the quick commands do without

                key = sha256(key).hexdigest()[:32].encode()
            names[b"\0schedctl-config-" + key] = None
    return list(names)


def _listen(config: Path) -> list[socket.socket] | bytes:
    """Listen on the names of a config file; return the first one that is taken, if any."""
    held: list[socket.socket] = []
    for name in _socket_names(config):
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        held.append(listening)
        try:
            listening.bind(name)
            listening.listen(64)
        except OSError as error:
            for each in held:
                each.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return name
    return held


def _ask(name: bytes) -> Holder | None:
    try:
        caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:  # a sandbox without such sockets
        return None
    with caller:
        caller.settimeout(PATIENCE)
        try:
            caller.connect(name)
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except OSError:  # it is there, and takes no more callers
            return _UNKNOWN
        pid, uid, _ = _CREDENTIALS.unpack(caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        said = b""
        with suppress(OSError):
            while len(said) < _LONGEST and (more := caller.recv(_LONGEST)):
                said += more
    state = None
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        state = str(json.loads(said)["state"])
    return Holder(pid=pid, uid=uid, state=state)

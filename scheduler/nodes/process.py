"""Who this process is, and that only one daemon works on one SQLite file."""

import fcntl
import os
import secrets
import socket
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Literal

from storage.values import Node

SEEN_WITHIN = timedelta(seconds=10)
"""A daemon on another host that was not seen for longer than this counts as gone; it tells of itself every 4 s."""


class AlreadyRunningError(Exception):
    """Another daemon holds the state file."""


def boot_id() -> str:
    """Return the id of this boot of the machine, empty where the system has none."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def process_started(pid: int) -> str | None:
    """Return the start time of a process in kernel ticks since boot; None if there is no such process.

    Field 22 of /proc/PID/stat, counted after the command name, which may hold anything (the proc(5) manual page).
    """
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else fields[19]
    return None


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process, which /proc does not show us.

    A systemd unit with ProtectProc=invisible sees no processes of other users, and with PrivateUsers= beside it not
    even those that another command of the same unit started (the systemd.exec(5) and proc(5) manual pages, hidepid).
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not Path(f"/proc/{pid}").exists()


def this_node(kind: Literal["daemon", "cli"], now: datetime) -> Node:
    """Describe this process as a node; its id is new with every call, and owns the claims it makes."""
    from importlib.metadata import version  # noqa: PLC0415 - 20 ms, which only those who look are spared

    pid = os.getpid()
    return Node(
        id=secrets.token_hex(8),
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid=pid,
        pid_started=process_started(pid) or "",
        version=version("schedctl"),
        started_at=now,
        seen_at=now,
        kind=kind,
        info={},
    )


def is_dead(node: Node) -> bool:
    """Whether a node of this host is surely gone: another boot, or its process ended. False when it cannot be known."""
    if node.host != socket.gethostname():
        return False
    if node.boot_id and node.boot_id != boot_id():
        return True
    return process_started(node.pid) != node.pid_started and not _is_hidden(node.pid)


def lives(node: Node, now: datetime) -> bool:
    """Whether a node lives, as far as one can tell from here; ``now`` by the clock that its ``seen_at`` is of.

    One that was seen in the future is of a time before that clock was set back, and has not told of itself since.
    """
    if is_dead(node):
        return False
    is_seen = node.host == socket.gethostname() and not _is_hidden(node.pid)
    return is_seen or abs(now - node.seen_at) <= SEEN_WITHIN


def living_daemon(nodes: Iterable[Node], now: datetime) -> Node | None:
    """Return the first daemon among nodes that lives, as :func:`lives` tells; None if there is none."""
    return next((node for node in nodes if node.kind == "daemon" and lives(node, now)), None)


def lock_state_file(path: Path) -> IO[str]:
    """Take the lock beside a SQLite state file for as long as the returned file is open.

    Raises AlreadyRunningError, with the holder's process id, if another daemon has it.
    """
    lock = path.with_name(path.name + ".lock")
    holder = open(  # noqa: SIM115 - Path.open takes no opener; whoever asked closes it
        lock, "a+", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)
    )
    with suppress(OSError):
        os.fchmod(holder.fileno(), 0o600)  # made by an older version, any user could lock it and keep the daemon out
        if os.geteuid() == 0:
            owner = path.stat()
            os.fchown(
                holder.fileno(), owner.st_uid, owner.st_gid
            )  # else a daemon of root keeps the owner's out for ever
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder.seek(0)
        pid = holder.read().strip() or "unknown"
        holder.close()
        raise AlreadyRunningError(
            f"another schedctl daemon (process {pid}) already works on {path}; stop it first, "
            "or keep the state in PostgreSQL to run several"
        ) from error
    with suppress(OSError):  # on a full disk; the number is reported to others, and guards nothing
        holder.truncate(0)
        os.write(holder.fileno(), str(os.getpid()).encode())
    return holder

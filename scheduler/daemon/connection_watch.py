"""What an edit of a connection does to the jobs that use it: somebody acted, so their failures count anew."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exporter.host.durable_files import create_file, make_directory, sync_directory, write_all
from exporter.host.regular_files import read_regular
from exporter.settings.base import SecretReference
from exporter.settings.connection import Connection
from scheduler.config.build import Config
from scheduler.config.connection_digests import GONE, VALUE, as_text, compare, digest, settings_of, words
from scheduler.config.connections import beside_state
from scheduler.environment.actors import record_action, this_actor
from scheduler.jobs.outline import Outline
from scheduler.observability.logging_setup import get_logger
from scheduler.secrets.resolve import SecretError, look_up
from scheduler.state.seen_files import SETTLED
from storage import key_values
from storage.database import Database, Session
from storage.engine.dialect_sql import lock_names
from storage.jobs import jobs, removed
from storage.jobs.jobs import StoredJob
from storage.jobs.removed import RemovedJob
from storage.values import Actor

KEY_FILE = "connections.key"
"""The file beside the state that keeps the key of the digests."""
KEY_BYTES = 32
CONNECTION_EDITS = "connection_edits"
"""The key in ``setting`` of the last edit of connections that a daemon noticed, as :meth:`ConnectionEdits.record`."""
CONNECTION_EDIT = "edit of a connection"
"""The command of what follows from a changed connection or secret."""
_DIGESTS = "connection_digests:"
"""What the keys in ``setting`` of the digests begin with; a mark of the key follows, since each host has its own."""

log = get_logger("schedctl.daemon")


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionEdits:
    """The connections that changed, by name, with their changed keys; and what enabled which jobs again, by name."""

    keys: Mapping[str, tuple[str, ...]]
    enabled: Mapping[str, str]

    def record(self, now: datetime) -> str:
        """Return it as JSON, with ``at``, when it was noticed."""
        return json.dumps(
            {
                "at": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "connections": [{"name": name, "keys": list(keys)} for name, keys in sorted(self.keys.items())],
                "enabled": [{"job": job, "reason": why} for job, why in sorted(self.enabled.items())],
            }
        )


class ConnectionWatch:
    """Notices, in a daemon, that connections of its config changed since a daemon of this host last looked at them."""

    def __init__(self, database: Database, config: Config) -> None:
        """``config`` is the one that the daemon began with: it says where the key of the digests lies."""
        self._database = database
        self._key = _digest_key(beside_state(config, os.environ))

    def look(self, config: Config, now: datetime, *, is_asked: bool = True) -> ConnectionEdits:
        """Compare, reset the failures of jobs whose connections changed, lift what these disabled, and log that.

        A look that nobody asked for leaves the keyring alone, which may ask a person something, and files that changed
        just now and may not be whole yet.
        """
        place = _DIGESTS + digest(self._key, "mark")[:8]
        with self._database.read() as session:
            stored: dict[str, dict[str, str]] = json.loads(key_values.get(session, place) or "{}")
        kept: dict[str, dict[str, str]] = {}
        changed: dict[str, tuple[str, ...]] = {}
        for name, connection in config.connections.items():
            before = stored.get(name)
            found = dict(self._digests(name, connection, now, is_asked=is_asked, before=before or {}))
            keys, kept[name] = compare(before, found)
            if keys:
                changed[name] = keys
        for name in stored.keys() - kept.keys():
            kept[name] = stored[name] | {GONE: ""}
        if kept == stored:
            return ConnectionEdits(keys={}, enabled={})
        with self._database.write() as session:
            key_values.put(session, place, json.dumps(kept))
            enabled = _reset_failures(session, changed, now) if changed else {}
            record_action(session, this_actor(CONNECTION_EDIT), "enabled", now=now, jobs=sorted(enabled))
            edits = ConnectionEdits(keys=changed, enabled=enabled)
            if changed:
                key_values.put(session, CONNECTION_EDITS, edits.record(now))
        for name, keys in sorted(changed.items()):
            log.info("connection.changed", connection=name, keys=list(keys))
        for job, why in sorted(enabled.items()):
            log.info("job.enabled", job=job, reason=why)
        return edits

    def _digests(
        self, name: str, connection: Connection, now: datetime, *, is_asked: bool, before: Mapping[str, str]
    ) -> Iterator[tuple[str, str | None]]:
        """Yield the digest of each key, and of what stands behind it; None for what cannot be looked up."""
        for key, value in settings_of(connection):
            yield key, digest(self._key, name, key, as_text(value))
            is_file = key == "ca_file" or (isinstance(value, SecretReference) and value.file is not None)
            if not is_file and not isinstance(value, SecretReference):
                continue
            place = key + VALUE
            file = Path(value.file or "" if isinstance(value, SecretReference) else str(value))
            is_left = isinstance(value, SecretReference) and value.keyring is not None
            if not is_asked and place in before and (is_left or (is_file and _is_young(file, now))):
                yield place, before[place]
                continue
            found: str | None = None
            with suppress(SecretError, OSError):
                if isinstance(value, SecretReference):
                    found = look_up(key, value).get_secret_value()
                else:
                    found = hashlib.sha256(read_regular(file)).hexdigest()
            yield place, None if found is None else digest(self._key, name, place, found)


def count_login(database: Database, name: str, now: datetime, *, by: Actor | None = None) -> list[str]:
    """Take a person's login for an edit of the connection: return the jobs that it enabled again, by name."""
    with database.write() as session:
        enabled = sorted(_reset_failures(session, {name: ("login",)}, now))
        record_action(session, by, "enabled", now=now, jobs=enabled)
        return enabled


def last_connection_edits(database: Database) -> dict[str, Any] | None:
    """Return what :meth:`ConnectionEdits.record` kept of the last edit; None if there was none yet."""
    with database.read() as session:
        kept = key_values.get(session, CONNECTION_EDITS)
    return None if not kept else dict(json.loads(kept))


def _reset_failures(session: Session, changed: Mapping[str, tuple[str, ...]], now: datetime) -> dict[str, str]:
    """Reset the failures of all jobs, present and removed, that use one of these; return why which are enabled again.

    A connection that is only there again counts for jobs of the command line: those of the file went and came with it.
    """
    using = [(job, why) for job in jobs.all_jobs(session) if (why := _why(job, changed))]
    lock_names(session, [job.name for job, _ in using])
    enabled: dict[str, str] = {}
    for job, why in using:
        if jobs.reset_failures(session, job.name, now=now):
            enabled[job.name] = why
    for gone in removed.removed_jobs(session):
        if _why(gone, changed):
            removed.reset_failures(session, gone.name)
    return enabled


def _why(job: StoredJob | RemovedJob, changed: Mapping[str, tuple[str, ...]]) -> str:
    """Say which connection of a job changed, and how; empty if none did."""
    if job.failure_streak == 0 and job.disabled_by != "daemon":
        return ""
    counting = (name for name in Outline(job.definition).connections if name in changed)
    return "; ".join(words(name, changed[name]) for name in counting if changed[name] != (GONE,) or job.origin == "cli")


def _is_young(file: Path, now: datetime) -> bool:
    try:
        changed = file.stat().st_mtime
    except OSError:
        return False
    return 0 <= now.timestamp() - changed < SETTLED.total_seconds()


def _digest_key(directory: Path) -> bytes:
    """Return the key of this host, made when it is first needed.

    Where it can be neither read nor kept it is one of this process alone: an edit is then noticed while it lives.
    """
    file = directory / KEY_FILE
    try:
        make_directory(directory)
        with suppress(FileExistsError):
            unfinished = file.with_name(f".{KEY_FILE}.{secrets.token_hex(4)}")
            if not file.exists():
                descriptor = create_file(unfinished)
                try:
                    write_all(descriptor, secrets.token_bytes(KEY_BYTES))
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                try:
                    os.link(unfinished, file)  # whole or not at all, and never over another's
                finally:
                    unfinished.unlink(missing_ok=True)
                sync_directory(directory)
        key = read_regular(file, most=KEY_BYTES)
        if len(key) == KEY_BYTES:
            return key
        message = f"{file} is damaged: remove it, and the next start makes another"
    except OSError as error:
        message = f"{file} cannot be used: {error.strerror}"
    log.warning("connections.key_unusable", message=f"{message}; edits made while no daemon lives are not noticed")
    return secrets.token_bytes(KEY_BYTES)

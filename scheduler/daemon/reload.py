"""The config under a running daemon: whether a file of it changed, taking it over whole, telling how that went."""

import json
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

from scheduler.config.build import Config, ConfigError, Reading, build, read
from scheduler.config.diff import EDITS
from scheduler.config.merge import Changes, NameConflicts, UnconfirmedEdit
from scheduler.environment.clock import Clock
from scheduler.nodes.health import CONFIG_UNCONFIRMED, CONFIRMED
from scheduler.notifications.messages import config_refused, config_unconfirmed
from scheduler.observability.logging_setup import get_logger
from scheduler.state.seen_files import SETTLED, SYNCED
from storage import key_values, notices
from storage.database import Database, StorageError
from storage.jobs import jobs

MOST_KEPT = 100
"""Removed jobs, and jobs that lose keys, that `status` and the log name."""

log = get_logger("schedctl.daemon")


class Apply(Protocol):
    """Stores the jobs of a config and puts it in force (:attr:`Reloading.config`), both or neither."""

    def __call__(self, config: Config, confirmed: Collection[str]) -> Changes:
        """Return what changed; what is ``confirmed`` may go. Raises ConfigError and NameConflicts."""


class Reloading:
    """``config`` is the one in force, ``started`` the one that the daemon began with.

    ``fault`` is what keeps the files from being applied as they are now, empty while nothing does.
    """

    def __init__(
        self,
        reading: Reading,
        config: Config,
        *,
        database: Database,
        clock: Clock,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """``config`` is what was built of ``reading``; ``ticks`` are seconds that no setting of a clock changes."""
        self.config = self.started = config
        self.fault = ""
        self._path = reading.path
        self._seen = reading.seen
        self._database = database
        self._clock = clock
        self._ticks = ticks
        self._requested: str | None = None
        self._asked = threading.Event()
        self._young: tuple[Reading, float] | None = None
        """Changed files as they were read last, and when; None while nothing has changed."""
        self._still: Reading | None = None
        """Changed files that have been left alone since they were read, to be applied."""
        self._confirmed: frozenset[str] = frozenset()
        self._resting: list[str] = []
        self._is_marked = False
        self._told_edits = ""
        self._taken: tuple[str, ...] = ()
        """The names of jobs that kept the files from being applied, since `schedctl add` has them."""

    def start(self, unconfirmed: UnconfirmedEdit | None = None, *, resting: Collection[str] = ()) -> None:
        """Note that the config was applied, or what keeps it from that; a request from before this is met by that.

        ``resting`` are the jobs of which nothing is started until it is applied.
        """
        self._resting = sorted(resting)
        with self._database.read() as session:
            self._requested = key_values.get(session, "reload_requested")
        self._told_edits = self._last_edits()
        if unconfirmed is not None:
            self._log_unconfirmed(unconfirmed)
        self._note(unconfirmed)
        self._tell()

    def ask(self) -> None:
        """Have the files read again at the next look, changed or not."""
        self._asked.set()

    def look(self, reload: Callable[[], None]) -> None:
        """Call ``reload`` if a file has changed and been left alone since, or at once if a person asked for it."""
        with self._database.read() as session:
            requested = key_values.get(session, "reload_requested")
            confirmed = json.loads(key_values.get(session, CONFIRMED) or "{}") if requested != self._requested else {}
        self._still = None
        if not self._asked.is_set() and requested == self._requested:
            self._still = self._read_when_still()
            if self._still is None:
                if self._young is None:
                    self._mark()
                return
        self._asked.clear()
        self._confirmed = frozenset(confirmed.get("remove", ()) if confirmed.get("request") == requested else ())
        try:
            reload()
        except StorageError:
            self._asked.set()  # the next turn reads the files again
            raise
        self._requested = requested

    def _read_when_still(self) -> Reading | None:
        """Return what changed files hold, once they have been left alone for SETTLED since they were read."""
        if self._seen.is_current() and not self._is_name_given_up():
            self._young = None
            return None
        now = self._ticks()
        if self._young is None or not self._young[0].seen.is_current():
            self._young = (read(self._path), now)
            return None
        reading, since = self._young
        return reading if now - since >= SETTLED.total_seconds() else None

    def take_over(self, apply: Apply) -> bool:
        """Have the files applied whole; what is refused changes nothing, is logged, and False is returned."""
        reading = self._still or read(self._path)
        self._young = None
        try:
            config = build(reading)
            changes = apply(config, self._confirmed)
        except (ConfigError, NameConflicts) as error:
            if isinstance(error, UnconfirmedEdit):
                self._log_unconfirmed(error)
            else:
                log.error("config.refused", message=str(error))  # noqa: TRY400 - the faults say it all
            self._note(error)
            self._seen = reading.seen
            self._taken = error.names if isinstance(error, NameConflicts) else ()
            return False
        log.info("config.reloaded", put=sorted(changes.put), removed=sorted(changes.remove))
        self._tell_edits()
        self._tell()
        self._resting = []
        self._note(None)
        self._seen, self._is_marked, self._taken = reading.seen, False, ()
        return True

    def _is_name_given_up(self) -> bool:
        """Whether a name that the files could not have is free by now: that heals them, and no file has changed."""
        if not self._taken:
            return False
        with self._database.read() as session:
            holders = [jobs.get_job(session, name) for name in self._taken]
        return any(holder is None or holder.origin == "file" for holder in holders)

    def _mark(self) -> None:
        """Keep that the stored jobs are those of the files, so that a command that only looks need not read them."""
        if self._is_marked or self.fault:
            return
        mark = self._seen.mark(self._clock())
        if mark:  # not for files that are so young that they may change unseen: then a later look keeps it
            with self._database.write() as session:
                key_values.put(session, SYNCED, mark)
            self._is_marked = True

    def _tell_edits(self) -> None:
        """Log what the edit changed of each job, unless that was reported before; of hundreds the first ones."""
        edits = self._last_edits()
        if edits == self._told_edits:
            return
        self._told_edits = edits
        for edit in json.loads(edits)["jobs"]:
            log.info(
                "config.job_changed",
                job=edit["job"],
                change=edit["change"],
                keys=edit["keys"],
                fires=edit["fires"],
                next_before=edit["next_before"],
                next_after=edit["next_after"],
                restored=edit.get("restored", False),
                enabled_again=edit.get("enabled_again", False),
            )
            if edit.get("enabled_again", False):
                log.info("job.enabled", job=edit["job"], reason=f"the job changed: {', '.join(edit['keys'])}")

    def _last_edits(self) -> str:
        with self._database.read() as session:
            return key_values.get(session, EDITS) or ""

    def _tell(self) -> None:
        """Log what the files warn of, and which of their changes need a restart."""
        for warning in self.config.warnings:
            log.warning("config.warning", path=warning.path, line=warning.line, message=warning.message)
        kept, new = _kept(self.started), _kept(self.config)
        for key in (key for key in kept if kept[key] != new[key]):
            log.warning("config.needs_restart", key=key, message=f"{key} changed: restart the daemon to use it")

    def _note(self, error: Exception | None) -> None:
        """Keep what the last look at the files said, for ``schedctl status`` and ``systemctl status``."""
        self.fault = "" if error is None else str(error)
        held = error if isinstance(error, UnconfirmedEdit) else None
        now = self._clock()
        with self._database.write() as session:
            # Each once, until the files are valid again.
            if held is not None and not key_values.get(session, CONFIG_UNCONFIRMED):
                told = config_unconfirmed(str(self._path), self.fault, removes=held.removes_most, loses=bool(held.lost))
            elif held is None and error is not None and not key_values.get(session, "config_fault"):
                told = config_refused(str(self._path), self.fault)
            else:
                told = None
            if told is not None:
                notices.add(
                    session, job=None, run_id=None, kind=told.kind, subject=told.subject, body=told.body, now=now
                )
            key_values.put(session, "config_path", str(self._path))
            key_values.put(session, "config_read_at", now.isoformat())
            key_values.put(session, "config_fault", self.fault)
            kept = ""
            if held is not None:
                named = {"removed": held.names[:MOST_KEPT], "resting": self._resting[:MOST_KEPT]}
                kept = json.dumps({"count": len(held.names), "of": held.total, "lost": _lost(held), **named})
            key_values.put(session, CONFIG_UNCONFIRMED, kept)

    def _log_unconfirmed(self, error: UnconfirmedEdit) -> None:
        log.error(
            "config.unconfirmed",
            removed=list(error.names[:MOST_KEPT]),
            resting=self._resting[:MOST_KEPT],
            lost=_lost(error),
            count=len(error.names),
            total=error.total,
            message=str(error),
        )


def _lost(error: UnconfirmedEdit) -> list[dict[str, Any]]:
    return [{"job": job, "keys": list(keys)} for job, keys in list(error.lost.items())[:MOST_KEPT]]


def _kept(config: Config) -> dict[str, tuple[int] | tuple[str, Path]]:
    """Return what counts from the next start on only."""
    return {
        "daemon.max_running": (config.daemon.max_running,),
        "storage": (config.storage.url, config.storage.spool),
    }

"""The config under a running daemon: whether a file of it changed, taking it over whole, telling how that went."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

from scheduler.config import Config, ConfigError, Reading, build, read
from scheduler.edits import EDITS
from scheduler.logs import get_logger
from scheduler.merge import Changes, NameConflicts
from scheduler.notices import config_refused
from scheduler.synced import SYNCED
from scheduler.work import Clock
from storage import jobs, notices, settings
from storage.database import Database, StorageError

log = get_logger("schedctl.daemon")


class Reloading:
    """``config`` is the one in force, ``started`` the one that the daemon began with.

    ``fault`` is what is wrong with the files as they are now, empty while they are sound.
    """

    def __init__(self, reading: Reading, config: Config, *, database: Database, clock: Clock) -> None:
        """``config`` is what was built of ``reading``."""
        self.config = self.started = config
        self.fault = ""
        self._path = reading.path
        self._seen = reading.seen
        self._database = database
        self._clock = clock
        self._requested: str | None = None
        self._asked = threading.Event()
        self._is_marked = False
        self._told_edits = ""
        self._taken: tuple[str, ...] = ()
        """The names of jobs that kept the files from being taken over, since `schedctl add` has them."""

    def start(self) -> None:
        """Note that the config was taken over; a request from before this is met by that."""
        with self._database.read() as session:
            self._requested = settings.get(session, "reload_requested")
        self._told_edits = self._last_edits()
        self._note(None)
        self._tell()

    def ask(self) -> None:
        """Have the files read again at the next look, changed or not."""
        self._asked.set()

    def look(self, reload: Callable[[], None]) -> None:
        """Call ``reload`` if a file changed, or a person asked for it."""
        with self._database.read() as session:
            requested = settings.get(session, "reload_requested")
        is_wanted = self._asked.is_set() or requested != self._requested or self._is_name_given_up()
        if not is_wanted and self._seen.is_current():
            self._mark()
            return
        self._asked.clear()
        try:
            reload()
        except StorageError:
            self._asked.set()  # the next turn reads the files again
            raise
        self._requested = requested

    def take_over(self, apply: Callable[[Config], Changes]) -> bool:
        """Read the files and have them applied whole; faulty ones change nothing, are told, and False is returned.

        ``apply`` stores the jobs and puts the config in force (:attr:`config`), both or neither.
        """
        reading = read(self._path)
        try:
            config = build(reading)
            changes = apply(config)
        except (ConfigError, NameConflicts) as error:
            log.error("config.refused", message=str(error))  # noqa: TRY400 - the faults say it all
            self._note(str(error))
            self._seen = reading.seen
            self._taken = error.names if isinstance(error, NameConflicts) else ()
            return False
        log.info("config.reloaded", put=sorted(changes.put), removed=sorted(changes.remove))
        self._tell_edits()
        self._tell()
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
                settings.put(session, SYNCED, mark)
            self._is_marked = True

    def _tell_edits(self) -> None:
        """Log what the edit changed of each job, unless that was told before; of hundreds the first ones."""
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
            )

    def _last_edits(self) -> str:
        with self._database.read() as session:
            return settings.get(session, EDITS) or ""

    def _tell(self) -> None:
        """Log what the files warn of, and which of their changes need a restart."""
        for warning in self.config.warnings:
            log.warning("config.warning", path=warning.path, line=warning.line, message=warning.message)
        kept, new = _kept(self.started), _kept(self.config)
        for key in (key for key in kept if kept[key] != new[key]):
            log.warning("config.needs_restart", key=key, message=f"{key} changed: restart the daemon to use it")

    def _note(self, fault: str | None) -> None:
        """Keep what the last look at the files said, for ``schedctl status`` and ``systemctl status``."""
        self.fault = fault or ""
        now = self._clock()
        with self._database.write() as session:
            if fault and not settings.get(session, "config_fault"):  # once, until they are sound again
                told = config_refused(str(self._path), fault)
                notices.add(
                    session, job=None, run_id=None, kind=told.kind, subject=told.subject, body=told.body, now=now
                )
            settings.put(session, "config_path", str(self._path))
            settings.put(session, "config_read_at", now.isoformat())
            settings.put(session, "config_fault", fault or "")


def _kept(config: Config) -> dict[str, tuple[int] | tuple[str, Path]]:
    """Return what counts from the next start on only."""
    return {
        "daemon.max_running": (config.daemon.max_running,),
        "storage": (config.storage.url, config.storage.spool),
    }

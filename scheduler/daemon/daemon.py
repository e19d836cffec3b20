"""The daemon: APScheduler runs its few chores; the tick fires what is due, workers run it, signals reload and drain."""

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO

from apscheduler.triggers.base import BaseTrigger
from sqlalchemy.engine import make_url

from exporter.failures import ExportError
from exporter.host.signals import Signals, unless_ignored
from scheduler.config.build import Config, build, read
from scheduler.config.files import wait_until_still
from scheduler.config.merge import Changes, UnconfirmedEdit
from scheduler.config.open_state import check_state, note_config, open_state, rebuilt, refuse_shared
from scheduler.daemon import sd_notify
from scheduler.daemon.chores import Chores, Every
from scheduler.daemon.clock_steps import StepWatch
from scheduler.daemon.connection_watch import ConnectionWatch
from scheduler.daemon.disk_watch import LOOK_SECONDS, DiskWatch, free_bytes
from scheduler.daemon.metrics_server import TEXTFILE_SECONDS, Metrics, Whole
from scheduler.daemon.plan_cache import Planning
from scheduler.daemon.reload import Reloading
from scheduler.daemon.retention import CLEAR_SECONDS, abandon, clear, set_aside
from scheduler.daemon.storage_outage import Refusals
from scheduler.daemon.tick import make_room, tick
from scheduler.daemon.worker_pool import Workers
from scheduler.environment.clock import Clock, utc_now
from scheduler.errors.operation_error import ErrorKind, OperationError
from scheduler.jobs.definition import forget_schedules
from scheduler.nodes.health import DRAINING, METRICS_FAULT, PLACES
from scheduler.nodes.process import AlreadyRunningError, is_dead, lock_state_file, this_node
from scheduler.notifications.dispatcher import Notifier
from scheduler.observability.logging_setup import get_logger
from scheduler.operations.audit import audit_daily
from scheduler.operations.jobs import planned_changes, sync_file_jobs
from scheduler.operations.tzdata import look_at_zones
from scheduler.planning.plan import Plan
from scheduler.runs.cancellation import StopReason
from scheduler.runs.concurrency import Gate, Limits
from scheduler.runs.quota_hold_store import holds
from scheduler.runs.runner import LEASE_SECONDS, RENEW_SECONDS
from scheduler.runs.spool_identity import find_place
from scheduler.schedules.timezones import forget_zones, tzdata_version
from scheduler.state.config_lock import Holder, hold_config
from scheduler.state.location import displaced_state, exposed, other_state, others_state, remember
from storage import nodes
from storage.database import Database, StorageError
from storage.engine.address import parse_address
from storage.engine.server_clock import shared_now
from storage.engine.sqlite_file import from_os
from storage.jobs import jobs
from storage.runs import runs

CHECK_SECONDS = 1.0
"""The clock is looked at this often, so that a step of it, or a change by the CLI, is noticed within a second."""
ZONES_SECONDS = 3600.0
"""How often it is asked whether the time zone data were replaced."""
CONNECTIONS_SECONDS = 30.0
"""How often it is asked whether a secret's file was changed, although the config was not."""
FAILED_SECONDS = 3.0
"""How soon after a configuration failure that is asked: a secret that failed must be known before it is corrected."""
AUDIT_SECONDS = 600.0
"""How often it is asked whether the daily audit is due."""
MARK_SECONDS = 5.0
"""How often the marker beside the config file is looked at."""
LARGE_STEP = 3600.0
"""Seconds. After the clock went forward by more than this, nothing is removed for its age..."""
DISTRUST_SECONDS = 3600.0
"""...for this long: a clock that is years ahead by mistake would remove the whole history before it is set right."""
LONGEST_LEASE = timedelta(seconds=2 * LEASE_SECONDS)
"""A claim that ends later than this was made before the clock was set back."""
EXIT_SECONDS = 10.0
"""How long after the drain time a worker that hangs in a call may take to let go before the process ends anyway."""
NOTICE_SECONDS = 5.0
"""How long the end waits for notices to be sent; the next daemon sends what is left."""
MARGIN_SECONDS = 10.0
"""What systemd gives the end beyond all these waits before it kills the process."""
LEAST_FREE = 4_000_000
"""Bytes that a state database needs for its own start."""
STORAGE_LOST = 5
"""The exit code that stands for storage that cannot be reached."""
NOTICE_SECONDS_ONCE = 60.0
"""The same of ``--once``, which no daemon may follow."""

log = get_logger("schedctl.daemon")


class PlanTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Fires when the plan says that a slot is due, and at least once a second."""

    def __init__(self, plan: Plan, refusals: Refusals) -> None:
        self._plan = plan
        self._refusals = refusals

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Return when the next tick is: the earliest slot, but no later than in a second; in one that is refused."""
        latest = now + timedelta(seconds=CHECK_SECONDS)
        wakeup = self._plan.next_wakeup()
        if wakeup is None or self._refusals.fault or wakeup >= latest.timestamp():
            return latest
        return max(now + timedelta(milliseconds=20), datetime.fromtimestamp(wakeup, UTC))


class Daemon:
    """One daemon process over one state database. ``run`` blocks until it is reported to stop."""

    def __init__(self, files: Reloading, *, database: Database, clock: Clock = utc_now) -> None:
        config = files.started
        self._files = files
        self._database = database
        self._clock = clock
        self._node = this_node("daemon", clock())
        self._jobs = Planning(database, clock=clock, host=self._node.host)
        self._zone_version = tzdata_version()
        self._is_held = False
        self._manager = sd_notify.Manager()
        self._steps, self._leases = StepWatch(), StepWatch()
        self._lock = threading.Lock()
        self._stopping, self._hurried = threading.Event(), threading.Event()
        self._connections = ConnectionWatch(database, config)
        self._comparing = threading.Lock()
        self._looks_soon = False
        self._refusals = Refusals()
        self._is_lost = False
        self._places: frozenset[str] | None = None
        """The spool directories from which begun runs can be resumed here; None: all."""
        self._distrusted_until = 0.0
        self._workers = Workers(
            size=config.daemon.max_running,
            database=database,
            owner=self._node.id,
            spool_root=Path(config.storage.spool),
            clock=clock,
            on_free=self._wake,
            on_misconfigured=self._look_at_connections_soon,
        )
        self._notifier = Notifier(
            database=database, owner=self._node.id, settings=lambda: self._files.config.notify, clock=clock
        )
        self._disk = DiskWatch(database=database, spool=Path(config.storage.spool), clock=clock)
        self._metrics = Metrics(
            Whole(
                database=database,
                node=self._node,
                spool=Path(config.storage.spool),
                clock=clock,
                refuses=lambda: bool(self._refusals.fault),
            )
        )
        self._chores = Chores()

    def start(self, *, once: bool = False) -> None:
        """Register this node, take back what dead ones held, and read the jobs.

        Raises ConfigError where the stored jobs do not go with the config file, and NameConflicts.
        """
        now = self._clock()
        watchdog = sd_notify.watchdog_seconds(os.environ, os.getpid())
        if watchdog is not None and watchdog < sd_notify.LEAST_WATCHDOG:
            log.warning("watchdog.short", seconds=watchdog, least=sd_notify.LEAST_WATCHDOG)
        self._steps.look(utc_now)
        with self._database.write() as session:
            dead = [node for node in nodes.all_nodes(session) if is_dead(node)]
            for node in dead:
                nodes.gone(session, node.id)
            nodes.register(session, replace(self._node, seen_at=shared_now(session, now)))
            taken = runs.take_back(session, owners=[node.id for node in dead], now=now)
        if taken:
            log.warning("claims.taken_back", runs=taken)
        self._find_place()
        try:
            sync_file_jobs(self._database, self._files.config, now)
        except UnconfirmedEdit as unconfirmed:
            if once:
                raise  # nobody would notice when the file is whole, or confirmed
            self._rest(unconfirmed)
            self._files.start(unconfirmed, resting=self._jobs.resting)
        else:
            self._look_at_connections(is_asked=True)
            self._files.start()
        self._look_at_disk()
        set_aside(self._database, self._files.started.storage.spool)
        self._look_at_zones()
        log.info("daemon.started", version=self._node.version, node=self._node.id, jobs=len(self._jobs.definitions))

    def _find_place(self) -> None:
        """Learn which spool directory this is, and so which begun runs may go on here, where others share the state."""
        try:
            found = find_place(self._database, self._files.started.storage.spool)
            self._workers.place, self._places = found
        except ExportError as error:  # no run can be spooled here either, and each will say so
            log.error("spool.unusable", code=error.code, message=error.message)  # noqa: TRY400 - says it all
            self._places = frozenset()

    def _rest(self, unconfirmed: UnconfirmedEdit) -> None:
        """Start nothing of jobs that the file lacks, wholly or in part, or for which it has no connection, until then.

        A daemon that was not running when the file was edited has no other config to go by. Jobs stay as they were
        stored, and the slots of those that rest wait for ``catch_up``.
        """
        known = self._files.config.connections.keys()
        with self._database.read() as session:
            stored = jobs.all_jobs(session)
        lost = {job.name for job in stored if not Limits().demand(job.definition).connections <= known}
        self._jobs.rest(lost.union(unconfirmed.names, unconfirmed.lost, *unconfirmed.cuts.values()))

    @property
    def is_stuck(self) -> bool:
        """Whether a worker has not let go of its run although it was reported to stop."""
        return bool(self._workers.active)

    def run(self) -> int:
        """Do the chores until told to stop, then drain; return the exit code, 5 if the state database is gone."""
        self._begin()
        while not self._stopping.wait(CHECK_SECONDS):
            self._look_at_clock()
        seconds = self._files.config.daemon.drain_timeout + EXIT_SECONDS + NOTICE_SECONDS + MARGIN_SECONDS
        self._manager.stopping(seconds, self._status())
        self._drain(NOTICE_SECONDS)
        return STORAGE_LOST if self._is_lost else 0

    def run_once(self) -> int:
        """Run all that is owed now, to its end, and return the exit code: 1 if a run failed."""
        self._tick()
        self._begin()
        while not self._stopping.is_set() and self._is_busy():
            self._look_at_clock()
            time.sleep(0.05)
        self._stopping.set()
        self._drain(NOTICE_SECONDS_ONCE)
        if self._is_lost:
            return STORAGE_LOST
        return 1 if self._workers.failed or not self._disk.has_room else 0

    def _begin(self) -> None:
        self._chores.add("tick", self._guarded(self._tick), PlanTrigger(self._jobs.plan, self._refusals))
        self._chores.add("keep", self._guarded(self._keep), Every(CHECK_SECONDS))
        self._chores.add("config", self._guarded(self._look_at_config), Every(CHECK_SECONDS))
        look_at_connections = self._guarded(self._look_at_connections)
        self._chores.add("connections", look_at_connections, Every(CONNECTIONS_SECONDS))
        self._chores.add("touch", self._guarded(self._touch), Every(RENEW_SECONDS / 2))
        self._chores.add("disk", self._guarded(self._look_at_disk), Every(LOOK_SECONDS))
        self._chores.add("clear", self._guarded(self._clear), Every(CLEAR_SECONDS), at_start=True)
        self._chores.add("audit", self._guarded(self._audit), Every(AUDIT_SECONDS))
        self._chores.add("zones", self._guarded(self._look_at_zones), Every(ZONES_SECONDS))
        self._chores.add("mark", self._guarded(self._mark_state), Every(MARK_SECONDS))
        self._chores.add("metrics", self._guarded(self._metrics.write), Every(TEXTFILE_SECONDS))
        self._metrics.apply(self._files.config.metrics)
        self._chores.start()
        self._notifier.start()
        self._manager.ready(self._status())

    def stop(self) -> None:
        """Ask for a graceful end, and the second time for one that waits for no run."""
        if self._stopping.is_set():
            self._hurried.set()
        self._stopping.set()

    def hurry(self) -> None:
        """Ask for an end that waits for no run."""
        self._hurried.set()
        self._stopping.set()

    def reload(self) -> None:
        """Ask for a reload of the config file."""
        self._files.ask()

    def signals(self) -> Signals:
        """Return what calls this daemon for the signals of its process."""
        calls = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop, signal.SIGHUP: self.reload}
        calls |= dict.fromkeys(unless_ignored(signal.SIGQUIT), self.hurry)
        calls |= {number: partial(_ignored, number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
        return Signals(calls)

    def _guarded(self, chore: Callable[[], None]) -> Callable[[], None]:
        """Wrap a chore so that a refused database is reported, now and then, and the next turn tries again."""

        def run() -> None:
            try:
                chore()
            except StorageError as error:
                self._refused(error)
            except Exception:
                log.exception("chore.crashed")

        return run

    def _refused(self, error: StorageError) -> None:
        """Tell that the database refuses; end if its file is gone, since nothing that is done now would be kept."""
        self._refusals.refused(error)
        if error.code == "GONE" and not self._is_lost:
            self._is_lost = True
            log.critical("storage.lost", message=error.message)
            self._stopping.set()

    def _tick(self) -> None:
        self._manager.ping()  # the loop turns, even while the database refuses
        with self._lock:
            if self._stopping.is_set():
                return
            self._manager.ping()  # a reload may have had the lock, and may have waited as long as this turn may yet
            self._jobs.read()
            now = self._clock()
            tick(self._database, self._jobs.plan, self._jobs.definitions, now, self._manager.ping)
            free = self._workers.free if self._disk.has_room else 0
            if free:
                with self._database.write() as session:
                    make_room(session, self._jobs.definitions, now)
                    held = holds(session)
                    limits = Limits.of(self._files.config.connections)
                    gate = Gate(limits, held, now, resting=self._jobs.resting)
                    claimed = runs.claim_runs(
                        session,
                        owner=self._node.id,
                        now=now,
                        lease_seconds=LEASE_SECONDS,
                        limit=free,
                        gate=gate,
                        lease_from=shared_now(session, now),
                        places=self._places,
                    )
                self._is_held = not claimed and any(hold.is_in_force(now) for hold in held.values())
                for run in claimed:
                    self._workers.start(run, self._files.config)

    def _look_at_clock(self) -> None:
        """Do every chore at once when the clock was set."""
        step = self._steps.look(utc_now)
        if step is None:
            return
        log.warning(
            "clock.set",
            seconds=round(step.seconds, 1),
            suspended=round(step.suspended, 1),
            now=step.now.isoformat(),
        )
        if step.seconds - step.suspended > LARGE_STEP:
            self._distrusted_until = time.monotonic() + DISTRUST_SECONDS
        self._chores.after_step(step)

    def _wake(self) -> None:
        """Look for work at once, since a worker is free."""
        if self._chores.running and not self._stopping.is_set():
            self._chores.wake("tick")

    def _is_busy(self) -> bool:
        """Whether a run goes on or is due; asked between ticks, which move runs from one to the other."""
        with self._lock, self._database.read() as session:
            waiting = runs.next_waiting_time(session, self._places)
            is_due = self._disk.has_room and waiting is not None and waiting <= self._clock() and not self._is_held
            wakeup = self._jobs.plan.next_wakeup()  # slots to catch up on that did not fit into one tick
            is_behind = wakeup is not None and wakeup <= self._clock().timestamp() and not self._refusals.fault
            return bool(self._workers.active) or is_due or is_behind

    def _audit(self) -> None:
        audit_daily(self._database, self._clock())

    def _look_at_zones(self) -> None:
        """Notice new zone data, also under a running daemon: make the plan anew, and tell which jobs they move."""
        version = tzdata_version()
        with self._lock:
            if version != self._zone_version:
                forget_zones()
                forget_schedules()
                self._jobs.forget()
            self._jobs.read()
            # Schedules of their own: the plan's may be asked by a tick at the same time.
            schedules = {each.name: (each.revision, replace(each.schedule)) for each in self._jobs.plan.jobs()}
            if version != self._zone_version:
                look_at_zones(self._database, version, schedules, self._clock())  # before any tick goes by the new data
                self._zone_version = version
                return
        look_at_zones(self._database, version, schedules, self._clock())

    def _mark_state(self) -> None:
        """Write again where the state is, where somebody cleaned up beside the config file, as deployments do."""
        started = self._files.started
        location = started.storage.location
        if location is not None and os.path.lexists(started.name):
            with suppress(FileExistsError):  # it names another state now: commands refuse that, with both places
                remember(Path(started.name), location.directory)

    def _look_at_disk(self) -> None:
        self._disk.look(self._files.config.storage.min_free)

    def _clear(self) -> None:
        if (seconds := self._distrusted_until - time.monotonic()) > 0:
            self._chores.wake("clear", seconds=seconds)
            return
        clear(
            self._database,
            self._files.started.storage.spool,
            snapshots_directory=self._files.config.storage.snapshots,
            history=self._files.config.storage.history,
            now=self._clock(),
            is_stopping=self._stopping.is_set,
        )

    def _keep(self) -> None:
        self._manager.say(self._status())
        self._workers.keep()
        with self._database.write() as session:
            self._leases.look(lambda: shared_now(session, self._clock()))
            now = shared_now(session, self._clock())
            if not self._leases.is_steady_for(LEASE_SECONDS):
                return  # who lives renews first, by the clock as it is now
            gone = [run.id for run in runs.expired_claims(session, now=now, longest=LONGEST_LEASE)]
            expired = runs.take_back(session, gone, now=now, longest=LONGEST_LEASE) if gone else 0
        if expired:
            log.warning("claims.expired", runs=expired)

    def _touch(self) -> None:
        with self._database.write() as session:
            nodes.touch(session, self._node.id, shared_now(session, self._clock()), self._info())
        self._refusals.answered()  # this always has something to write; where nothing is, a full disk refuses nothing

    def _info(self) -> dict[str, object]:
        """Return what `schedctl status` is reported of this process."""
        return {
            DRAINING: self._stopping.is_set(),
            METRICS_FAULT: self._metrics.fault,
            PLACES: sorted(self._places or ()),
        }

    def _look_at_config(self) -> None:
        self._files.look(self._reload)

    def _reload(self) -> None:
        """Take the config over as it is now, and tell systemd when that begins and ends."""
        self._manager.reloading()
        try:
            if self._files.take_over(self._apply):
                self._metrics.apply(self._files.config.metrics)
        finally:
            self._manager.ready(self._status())

    def _apply(self, config: Config, confirmed: Collection[str]) -> Changes:
        with self._lock:
            changes = sync_file_jobs(self._database, config, self._clock(), confirmed=confirmed)
            self._files.config = config  # before the next tick hands it to a worker
            self._jobs.rest(())
            self._jobs.read()
        self._look_at_connections(is_asked=True)
        return changes

    def _look_at_connections_soon(self) -> None:
        if not self._looks_soon and self._chores.running and not self._stopping.is_set():
            self._looks_soon = True
            self._chores.wake("connections", seconds=FAILED_SECONDS)

    def _look_at_connections(self, *, is_asked: bool = False) -> None:
        self._looks_soon = False
        with self._comparing:
            if not self._jobs.resting:  # else the connections are those of a file that nobody has confirmed
                self._connections.look(self._files.config, self._clock(), is_asked=is_asked)

    def _status(self) -> str:
        running = len(self._workers.active)
        if self._stopping.is_set():
            return sd_notify.stopping_line(running=running, storage=self._refusals.fault)
        return sd_notify.status_line(
            jobs=len(self._jobs.definitions),
            running=running,
            fault=self._files.fault,
            has_room=self._disk.has_room,
            storage=self._refusals.fault,
        )

    def _wait_for_runs(self, seconds: float, unless: threading.Event | None = None) -> None:
        limit = time.monotonic() + seconds
        while self._workers.active and time.monotonic() < limit and not (unless and unless.is_set()):
            self._look_at_clock()
            time.sleep(0.05)

    def _drain(self, notice_seconds: float) -> None:
        """Start nothing more; let runs end within the drain time; hand the others back for the next daemon."""
        if self._chores.running:
            self._chores.drop("tick", "config")
        if self._workers.active:
            log.info("daemon.draining", runs=len(self._workers.active))
        self._guarded(self._touch)()
        self._wait_for_runs(0 if self._is_lost else self._files.config.daemon.drain_timeout, unless=self._hurried)
        if self._hurried.is_set():
            log.info("daemon.hurried", runs=len(self._workers.active))
        self._workers.stop(StopReason.DRAINING)
        self._wait_for_runs(EXIT_SECONDS)
        if self._chores.running:
            self._chores.stop()
        self._workers.shut_down()
        self._metrics.write()
        self._metrics.stop()
        if not self._is_lost:
            self._notifier.drain(notice_seconds)
            with self._database.write() as session:
                nodes.gone(session, self._node.id)
        log.info("daemon.stopped", left=len(self._workers.active))


def main(config_path: Path, *, once: bool = False) -> int:
    """Run the daemon in the foreground and return its exit code. Errors known to the CLI are raised for it."""
    faulthandler.enable(file=2)  # systemd's watchdog ends a stuck loop by SIGABRT: where it is stuck
    reading = read(config_path)
    config = build(reading)
    location = config.storage.location
    with ExitStack() as held:
        held.enter_context(_only_daemon(config_path, config.storage.url))
        check_state(config.storage.url, config_path, location)
        if location is not None and (problem := other_state(config_path, location, os.environ)):
            raise OperationError(ErrorKind.STORAGE, problem)
        lock = _lock_if_sqlite(config.storage.url)
        if lock is not None:
            held.enter_context(lock)
            file = Path(lock.name.removesuffix(".lock"))
            make_disk_room(file.parent, config.storage.spool)
            if doubt := exposed(file):
                log.warning("state.exposed", message=doubt)
            if doubt := others_state(config_path, file):
                log.warning("state.others", message=doubt)
        database = open_state(
            config.storage.url,
            config_path,
            location,
            tell=lambda message: log.warning("state.unmarked", message=message),
            is_daemon=True,
        )
        held.callback(database.close)
        if location is not None and (doubt := displaced_state(config_path, location)):
            log.warning("state.displaced", message=doubt)
        refuse_shared(database, config_path)
        if not reading.seen.is_settled(utc_now()):
            changes = planned_changes(database, config)
            if changes.remove or changes.replaced:  # the file may be half written
                reading = wait_until_still(reading)
                config = rebuilt(reading, config)
        note_config(database, config_path)
        daemon = Daemon(Reloading(reading, config, database=database, clock=utc_now), database=database)
        with daemon.signals():
            daemon.start(once=once)
            code = daemon.run_once() if once else daemon.run()
            if threading.active_count() > 1 and daemon.is_stuck:
                os._exit(code)  # a worker hangs in a call; its claim runs out, and its ledger says where it stood
            database.close()
            return code


@contextmanager
def _only_daemon(config: Path, url: str) -> Iterator[None]:
    """Keep other daemons away from a config file, but for those that share its state in PostgreSQL.

    Raises AlreadyRunningError, with the holder's process and user.
    """
    address = parse_address(url)
    try:
        held = hold_config(config, address.name)
    except OSError as error:
        log.warning("config.not_locked", message=f"a second daemon on {config} is not noticed: {error.strerror}")
        yield
        return
    if isinstance(held, Holder):
        if address.kind != "sqlite" and held.state == address.name:
            yield
            return
        where = f" with its state in {held.state}" if held.state else ""
        raise AlreadyRunningError(
            f"another schedctl daemon ({held.words}) already works on {config}{where}; stop it first, "
            "or keep the state in PostgreSQL to run several"
        )
    try:
        yield
    finally:
        held.close()


def _ignored(number: signal.Signals) -> None:
    log.info("signal.ignored", signal=number.name, message="SIGHUP reloads, SIGTERM ends")


def make_disk_room(state: Path, spool: Path) -> None:
    """Take away what killed queries left in spools where the state database could not even say that it starts."""
    with suppress(OSError):
        if free_bytes(state) < LEAST_FREE and (found := abandon(spool)):
            log.warning("spool.abandoned", spools=found, message=f"there was no room left on the disk of {state}")


def _lock_if_sqlite(url: str) -> IO[str] | None:
    """Keep a second daemon away from a SQLite file; PostgreSQL is made for several."""
    parsed = make_url(url)
    if not parsed.drivername.startswith("sqlite") or not parsed.database:
        return None
    path = Path(parsed.database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return lock_state_file(path)
    except OSError as error:
        raise from_os(error, path, parsed.render_as_string()) from error

"""Runs that are waited for: the daemon executes them where one lives, else this process does."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from exporter.events import Event
from scheduler.config.build import Config
from scheduler.errors.operation_error import failed
from scheduler.nodes.presence import live_daemon, present
from scheduler.operations.wait_reasons import waits_for
from scheduler.runs.concurrency import Gate, Limits
from scheduler.runs.quota_hold_store import holds
from scheduler.state.location import others_state
from storage.database import ClaimLost, Database
from storage.engine.server_clock import shared_now
from storage.nodes import Node
from storage.runs import runs
from storage.runs.runs import StoredRun

POLL_SECONDS = 0.2
"""How often a run that the daemon executes is looked at."""
Watcher = Callable[[StoredRun, str | None], None]
"""Told a run as it is stored, each time it is looked at, and what it waits for, if it waits."""


def check_can_execute(database: Database, config: Config, now: datetime) -> None:
    """Raise an OperationError if no daemon would execute a run, and root must not: the state is another user's."""
    if live_daemon(database, now) is None:
        refuse_root(database, config)


def refuse_root(database: Database, config: Config) -> None:
    """Raise an OperationError in a process of root where the state is another user's."""
    problem = others_state(Path(config.name), database.path) if database.path is not None else ""
    if problem:
        raise failed(problem)


class Waiting:
    """Waits for runs, one after the other, and executes those that no daemon takes."""

    def __init__(
        self,
        database: Database,
        config: Config,
        *,
        watch: Watcher,
        listen: Callable[[StoredRun, Event], None],
    ) -> None:
        """``watch`` is reported of runs as stored; ``listen`` of the events of a run that is executed here."""
        self._database = database
        self._config = config
        self._watch = watch
        self._listen = listen
        self._interrupted = False

    def run(self, run_ids: list[int]) -> list[StoredRun]:
        """Return the runs once all have ended, in the order asked for. KeyboardInterrupt hands back what goes on."""
        with self._interruptible(), present(self._database, datetime.now(UTC)) as node:
            return [self._until_finished(run_id, node) for run_id in run_ids]

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Remember a Ctrl-C: where it hits a query, DuckDB makes an error of its own of the KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread gets signals
            return

        def interrupt(_signal: int, _frame: FrameType | None) -> None:
            self._interrupted = True
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _until_finished(self, run_id: int, node: Node) -> StoredRun:
        while True:
            now = datetime.now(UTC)
            run = self._stored(run_id)
            is_ours = run.state == "waiting" and live_daemon(self._database, now) is None
            self._watch(run, waits_for(self._database, self._config, run, now, here=is_ours))
            if run.state == "finished":
                return run
            if is_ours and run.run_time <= now:
                self._execute(run_id, node, now)
            else:
                time.sleep(POLL_SECONDS)

    def _execute(self, run_id: int, node: Node, now: datetime) -> None:
        refuse_root(self._database, self._config)
        from scheduler.runs.runner import LEASE_SECONDS, execute  # noqa: PLC0415 - drivers, which a daemon's runs do not need
        from scheduler.runs.spool_identity import find_place  # noqa: PLC0415 - the same

        place, places = find_place(self._database, self._config.storage.spool)
        with self._database.write() as session:
            gate = Gate(Limits.of(self._config.connections), holds(session), now)
            claimed = runs.claim_run(
                session,
                run_id,
                owner=node.id,
                now=now,
                lease_seconds=LEASE_SECONDS,
                gate=gate,
                lease_from=shared_now(session, now),
                places=places,
            )
        if claimed is None:  # another run goes on that this one must wait for, or a daemon was faster
            time.sleep(POLL_SECONDS)
            return
        try:
            execute(
                self._database,
                self._config,
                claimed,
                owner=node.id,
                spool_root=self._config.storage.spool,
                place=place,
                listen=lambda event: self._listen(claimed, event),
            )
        except ClaimLost:
            return  # somebody else goes on with it
        except BaseException as error:
            self._hand_back(claimed)
            if self._interrupted and not isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            raise

    def _hand_back(self, claimed: StoredRun) -> None:
        try:
            with self._database.write() as session:
                runs.release(session, claimed.id, claimed.token or "", now=datetime.now(UTC))
        except ClaimLost:
            return

    def _stored(self, run_id: int) -> StoredRun:
        with self._database.read() as session:
            found = runs.get_run(session, run_id)
        if found is None:
            raise LookupError(f"run {run_id} is gone from the state database")
        return found

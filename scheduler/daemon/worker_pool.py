"""The bounded pool that runs claimed runs, and what becomes of a run whose worker could not settle it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import structlog

from exporter.failures import FailureKind
from exporter.host.memory import give_back
from scheduler.config.build import Config
from scheduler.environment.clock import Clock
from scheduler.jobs.outline import Outline
from scheduler.observability.counters import METERS
from scheduler.observability.logging_setup import get_logger
from scheduler.outcomes.outcome import Conclusion, Failure, Outcome
from scheduler.outcomes.policy import Policies
from scheduler.runs.cancellation import RunControl, StopReason
from scheduler.runs.context import RunWork
from scheduler.runs.runner import keep_once, perform
from scheduler.runs.settle import settle
from storage.database import ClaimLost, Database, StorageError
from storage.runs import runs
from storage.runs.runs import StoredRun

log = get_logger("schedctl.workers")


@dataclass(frozen=True, kw_only=True)
class Active:
    """A run that a worker of this process has in hand."""

    run: StoredRun
    control: RunControl


class Workers:
    """At most ``size`` runs at once. ``on_free`` is called, in the worker's thread, when one has ended."""

    def __init__(
        self,
        *,
        size: int,
        database: Database,
        owner: str,
        spool_root: Path,
        clock: Clock,
        on_free: Callable[[], None],
        on_misconfigured: Callable[[], None],
    ) -> None:
        """``on_misconfigured`` is called after each configuration failure, ``on_free`` after each run."""
        self._size = size
        self._database = database
        self._owner = owner
        self._spool_root = spool_root
        self._clock = clock
        self._on_free = on_free
        self._on_misconfigured = on_misconfigured
        self.place: str | None = None
        """The id of the spool directory, which the runs that begin here are bound to."""
        self._pool = ThreadPoolExecutor(max_workers=size, thread_name_prefix="run")
        self._lock = threading.Lock()
        self._active: dict[int, Active] = {}
        self._unsettled: dict[int, str] = {}
        self.failed = 0

    @property
    def free(self) -> int:
        """How many more runs may be started now."""
        with self._lock:
            return self._size - len(self._active)

    @property
    def active(self) -> dict[int, Active]:
        """The runs in hand, by run id."""
        with self._lock:
            return dict(self._active)

    def start(self, run: StoredRun, config: Config) -> None:
        """Hand a claimed run to a worker."""
        control = RunControl(timeout=Outline(run.definition).timeout)
        work = RunWork(
            database=self._database,
            config=config,
            run=run,
            spool_root=self._spool_root,
            control=control,
            clock=self._clock,
            place=self.place,
        )
        with self._lock:
            self._active[run.id] = Active(run=run, control=control)
        self._pool.submit(self._work, work)

    def keep(self) -> None:
        """Renew the claims, pass on cancels and deadlines, and give back what could not be settled. Once a second."""
        controls = {run_id: active.control for run_id, active in self.active.items()}
        keep_once(self._database, self._owner, controls, self._clock)
        with self._lock:
            unsettled = dict(self._unsettled)
        for run_id, token in unsettled.items():
            try:
                with self._database.write() as session:
                    runs.release(session, run_id, token, now=self._clock())
            except ClaimLost:
                log.info("run.taken_over", run=run_id)
            with self._lock:
                self._unsettled.pop(run_id, None)

    def stop(self, reason: StopReason) -> None:
        """Tell every run in hand to stop."""
        for active in self.active.values():
            active.control.stop(reason)

    def shut_down(self) -> None:
        """Take no more runs; does not wait."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, work: RunWork) -> None:
        run = work.run
        with structlog.contextvars.bound_contextvars(job=run.job, run=run.id):
            try:
                settled = perform(work)
                self.failed += settled.outcome == Outcome.FAILED.value
                if settled.failure_kind == FailureKind.CONFIGURATION.value:
                    self._on_misconfigured()
            except ClaimLost:
                METERS.add("schedctl_claims_lost_total")
                log.warning("run.claim_lost")
            except StorageError as error:
                log.error("run.unsettled", message=error.message)  # noqa: TRY400 - the message says it all
                self._keep_unsettled(work)
            except Exception as error:  # the outer frame of a worker: nothing may end the daemon
                log.exception("run.crashed")
                self._settle_crash(work, error)
            finally:
                give_back()
                with self._lock:
                    self._active.pop(run.id, None)
                self._on_free()

    def _settle_crash(self, work: RunWork, error: Exception) -> None:
        """Settle a run that a bug in schedctl ended, so that it is neither lost nor repeated for ever."""
        self.failed += 1
        message = f"{type(error).__name__} in schedctl itself; the log has the details (run.crashed)"
        failure = Failure(kind=FailureKind.INTERNAL, code="CRASHED", message=message)
        conclusion = Conclusion(outcome=Outcome.FAILED, failure=failure)
        try:
            try:
                settled = settle(work, conclusion, Policies())
            except (ClaimLost, StorageError):
                raise
            except Exception:  # what a target now holds may be what cannot be written
                log.exception("run.crashed")
                settled = settle(work, conclusion, Policies(), keep_snapshot=False)
            METERS.ended(settled)
        except ClaimLost:
            log.warning("run.claim_lost")
        except Exception:  # the outer frame of a worker, again: the claim then runs out by itself
            log.exception("run.unsettled")
            self._keep_unsettled(work)

    def _keep_unsettled(self, work: RunWork) -> None:
        with self._lock:
            self._unsettled[work.run.id] = work.token

"""The org's engine: threads that take queued batches, carry them out and write down what became of each row."""

import threading
import time

from exporter.emulator import jobs
from exporter.emulator.content import BatchError, read_table
from exporter.emulator.faults import FaultBox
from exporter.emulator.jobs import Batch, Job
from exporter.emulator.org import Org
from exporter.emulator.results import write_results
from exporter.emulator.writing import Instruction, write

_LOOK_AGAIN = 0.5


class Worker:
    """Processes batches until stopped. Each batch's records and its result are one transaction.

    So a batch that an ended emulator had begun is processed by the next one, and none is processed twice.
    """

    def __init__(self, org: Org, faults: FaultBox, *, threads: int = 2, batch_seconds: float = 0.0) -> None:
        """``batch_seconds`` is the least time that a batch takes, as at a busy org."""
        self._org = org
        self._faults = faults
        self._seconds = batch_seconds
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._paused = False
        # SQLite gives up the interpreter at every row; a second batch in Python meanwhile would make it wait each time.
        self._busy = threading.Lock()
        self._threads = [threading.Thread(target=self._run, name=f"emulator-{n}", daemon=True) for n in range(threads)]

    def start(self) -> None:
        """Begin, with what was left unfinished before."""
        with self._org.store.writing() as db:
            jobs.requeue(db)
            jobs.purge(db, self._org.now())
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the batches begun, then end."""
        self._stopping.set()
        self.wake()
        for thread in self._threads:
            thread.join()

    def wake(self) -> None:
        """Look for work now."""
        with self._changed:
            self._changed.notify_all()

    def pause(self, *, paused: bool) -> None:
        """Leave batches queued, or go on."""
        self._paused = paused
        self.wake()

    @property
    def paused(self) -> bool:
        """Whether batches stay queued."""
        return self._paused

    def _run(self) -> None:
        while not self._stopping.is_set():
            batch = None if self._paused else self._take()
            if batch is None:
                with self._changed:
                    if not self._stopping.is_set():
                        self._changed.wait(_LOOK_AGAIN)
                continue
            self._stopping.wait(self._seconds)
            self._carry_out(batch)
            self.wake()

    def _take(self) -> Batch | None:
        with self._org.store.writing() as db:
            return jobs.take_batch(db, self._org.now())

    def _carry_out(self, batch: Batch) -> None:
        """Process one batch; whatever goes wrong with it is its result, never the end of the worker."""
        try:
            with self._busy:
                self._process(batch)
        except BatchError as error:
            self._fail(batch, str(error))
        except Exception as error:  # noqa: BLE001 - the outer frame of a worker: one batch must not end the others
            self._fail(batch, f"InternalServerError : {type(error).__name__}: {error}")

    def _process(self, batch: Batch) -> None:
        begun = time.perf_counter()
        with self._org.store.reading() as db:
            job = jobs.find_job(db, batch.job)
            content = jobs.request_of(db, batch)
        table = read_table(content, job.content)
        del content
        locked = self._faults.take_rows(job.object, table)
        with self._org.desk() as desk:
            outcome = write(desk, self._instruction(job), table, locked)
            jobs.settle_batch(
                desk.db,
                self._org.now(),
                batch,
                state="Completed",
                rows=table.rows,
                failed=len(outcome.errors),
                millis=round((time.perf_counter() - begun) * 1000),
                result=write_results(outcome.ids, outcome.created, outcome.errors),
            )

    def _instruction(self, job: Job) -> Instruction:
        each = self._org.object(job.object)
        key = each.field(job.external_id) if job.external_id else None
        return Instruction(object=each, operation=job.operation, key=key)

    def _fail(self, batch: Batch, message: str) -> None:
        with self._org.store.writing() as db:
            jobs.settle_batch(db, self._org.now(), batch, state="Failed", message=message)

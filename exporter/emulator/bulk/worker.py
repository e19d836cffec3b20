"""The org's engine: threads that take queued batches and carry them out."""

import threading

from exporter.emulator.bulk import bulk_jobs
from exporter.emulator.bulk.bulk_jobs import Batch
from exporter.emulator.bulk.processing import Processor
from exporter.emulator.org.org import Org

_LOOK_AGAIN = 0.5


class Worker:
    """Processes batches until stopped.

    A batch that an ended emulator had begun is processed by the next one, and none is processed twice.
    """

    def __init__(self, org: Org, processor: Processor, *, threads: int = 2, batch_seconds: float = 0.0) -> None:
        """``batch_seconds`` is the least time that a batch takes, as at a busy org."""
        self._org = org
        self._processor = processor
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
            bulk_jobs.requeue(db)
            bulk_jobs.purge(db, self._org.now())
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
            with self._busy:
                self._processor.carry_out(batch)
            self.wake()

    def _take(self) -> Batch | None:
        with self._org.store.writing() as db:
            return bulk_jobs.take_batch(db, self._org.now())

"""How a run's query is stopped, by what stops the run."""

from contextlib import AbstractContextManager

import pyarrow as pa
import pytest

from exporter.sources.source import Query
from scheduler.runs.cancellation import RunControl, StopReason
from scheduler.runs.runner import _stop_source


class Plain:
    """A source whose queries end with us."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def read(self, query: Query, *, batch_rows: int) -> AbstractContextManager[pa.RecordBatchReader]:
        raise AssertionError(query, batch_rows)

    def cancel(self) -> None:
        self.heard.append("cancel")

    def check(self) -> None:
        """Be there."""


class Leavable(Plain):
    """A source whose queries go on without us."""

    def leave(self) -> None:
        self.heard.append("leave")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (StopReason.CANCELED, "cancel"),
        (StopReason.TIMED_OUT, "cancel"),
        (StopReason.DRAINING, "leave"),
        (StopReason.CLAIM_LOST, "leave"),
    ],
)
def test_a_query_that_can_go_on_is_left_to_the_process_that_has_the_run_next(reason: StopReason, said: str) -> None:
    plain, leavable = Plain(), Leavable()
    for source in (plain, leavable):
        control = RunControl(timeout=60)
        control.on_stop(lambda source=source, control=control: _stop_source(source, control))  # type: ignore[misc]
        control.stop(reason)
    assert (plain.heard, leavable.heard) == (["cancel"], [said])

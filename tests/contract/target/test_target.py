import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.runs.exports import ListLedger, QuickControl, make_context

from exporter.events import Event, Progress, RowsSpooled, advance
from exporter.failures import ExportError, FailureKind
from exporter.ledger import Entry
from exporter.report import ExportReport, RejectedRow
from exporter.spool.spool import Spool

ROWS: list[tuple[str, float | None]] = [
    ("Ada", 1.0),
    ("Bad", math.nan),
    ('a "quoted",\r\nline', 2.5),
    ("ü😀\u2028", None),
    ("Worse", math.inf),
]
GOOD = [row for row in ROWS if row[1] is None or math.isfinite(row[1])]


class CrashError(BaseException):
    """The process dies here, as far as the target can tell."""


class DyingLedger(ListLedger):
    """A ledger whose process dies at the nth append: just before the entry is durable, or just after."""

    def __init__(self, earlier: ListLedger, at: int, *, after: bool) -> None:
        super().__init__(earlier.kept)
        self.rejected = earlier.rejected
        self._left = at
        self._after = after

    def append(self, entry: Entry, *, rejected: Sequence[RejectedRow] = ()) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise CrashError
        super().append(entry, rejected=rejected)
        if self._left == 0:
            raise CrashError


class StoppingControl(QuickControl):
    def check(self) -> None:
        raise CrashError


def reader(rows: list[tuple[str, float | None]]) -> pa.RecordBatchReader:
    schema = pa.schema([("name", pa.string()), ("score", pa.float64())])
    batch = pa.record_batch([[name for name, _ in rows], [score for _, score in rows]], schema=schema)
    return pa.RecordBatchReader.from_batches(schema, [batch])


def fill(sample: Any, directory: Path, rows: list[tuple[str, float | None]]) -> tuple[Spool, list[Event]]:
    spool, events = Spool(directory / "spool"), list[Event]()
    sample.open().fill(reader(rows), spool, control=QuickControl(), listen=events.append)
    return spool, events


def test_filling_keeps_every_row_and_sends_nothing(sample: Any, tmp_path: Path) -> None:
    spool, events = fill(sample, tmp_path, ROWS)
    manifest = spool.manifest()
    assert manifest is not None
    assert (manifest.rows, manifest.rejected) == (5, 2)
    assert sum(batch.rows for batch in manifest.batches) == 3
    assert [row.number for row in spool.rejected()] == [2, 5]
    told = [event for event in events if isinstance(event, RowsSpooled)]
    assert (sum(event.rows for event in told), sum(event.rejected for event in told)) == (5, 2)
    assert sample.arrived() == []


def test_an_export_delivers_each_row_once_and_accounts_for_all(sample: Any, tmp_path: Path) -> None:
    spool, _ = fill(sample, tmp_path, ROWS)
    ledger, events = ListLedger(), list[Event]()
    report = sample.open().export(spool, make_context(ledger, events=events))
    assert sorted(sample.arrived()) == sorted(GOOD)
    assert (report.read, report.accepted, report.rejected) == (5, 3, 2)
    assert report.adds_up
    assert sum(refusal.count for refusal in report.refusals) == 2
    assert {number: row.values["name"] for number, row in ledger.rejected.items()} == {2: "Bad", 5: "Worse"}
    assert all(row.code == "NOT_A_NUMBER" for row in ledger.rejected.values())
    progress = Progress()
    for event in events:
        progress = advance(progress, event)
    assert (progress.sent, progress.accepted) == (3, 3)


def test_an_export_that_was_done_is_not_done_again(sample: Any, tmp_path: Path) -> None:
    spool, _ = fill(sample, tmp_path, ROWS)
    ledger = ListLedger()
    first = sample.open().export(spool, make_context(ledger))
    length = len(ledger.kept)
    assert sample.open().export(spool, make_context(ledger)) == first
    assert len(ledger.kept) == length
    assert sorted(sample.arrived()) == sorted(GOOD)


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_entry_of_the_ledger_loses_and_doubles_nothing(
    sample: Any, tmp_path: Path, *, after: bool
) -> None:
    spool, _ = fill(sample, tmp_path, ROWS)
    ledger, crashes = ListLedger(), 0
    report: ExportReport | None = None
    at = 1
    while report is None:
        dying = DyingLedger(ledger, at, after=after)
        try:
            report = sample.open().export(spool, make_context(dying))
        except CrashError:
            crashes += 1
            at += 1  # each attempt dies one entry later than the one before
        ledger = dying
        assert crashes < 100
    assert crashes >= 2
    assert sorted(sample.arrived()) == sorted(GOOD)
    assert (report.read, report.accepted, report.rejected) == (5, 3, 2)
    assert sorted(ledger.rejected) == [2, 5]


def test_an_empty_result_is_a_result(sample: Any, tmp_path: Path) -> None:
    spool, _ = fill(sample, tmp_path, [])
    report = sample.open().export(spool, make_context(ListLedger()))
    assert report == ExportReport()
    assert sample.arrived() == []


def test_a_result_of_bad_rows_only_is_accounted_for(sample: Any, tmp_path: Path) -> None:
    spool, _ = fill(sample, tmp_path, [("Bad", math.nan)] * 3)
    report = sample.open().export(spool, make_context(ListLedger()))
    assert (report.read, report.accepted, report.rejected) == (3, 0, 3)
    assert report.sole_refusal is not None


def test_a_stop_passes_through_the_filling_and_the_export(sample: Any, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "stopped")
    with pytest.raises(CrashError):
        sample.open().fill(reader(ROWS), spool, control=StoppingControl(), listen=lambda _: None)
    assert spool.manifest() is None
    spool, _ = fill(sample, tmp_path, ROWS)
    with pytest.raises(CrashError):
        sample.open().export(spool, make_context(ListLedger(), control=StoppingControl()))
    assert sample.arrived() == []


def test_what_the_query_raises_passes_through_the_filling(sample: Any, tmp_path: Path) -> None:
    def broken() -> Any:
        yield pa.record_batch({"name": ["a"]})
        raise KeyError("the query's own")

    spool = Spool(tmp_path / "broken")
    rows = pa.RecordBatchReader.from_batches(pa.schema([("name", pa.string())]), broken())
    with pytest.raises(KeyError, match="the query's own"):
        sample.open().fill(rows, spool, control=QuickControl(), listen=lambda _: None)
    assert spool.manifest() is None


def test_an_incomplete_spool_is_never_sent(sample: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        sample.open().export(Spool(tmp_path / "none"), make_context(ListLedger()))
    assert caught.value.kind is FailureKind.INTERNAL
    assert sample.arrived() == []


def test_a_damaged_spool_is_never_sent(sample: Any, tmp_path: Path) -> None:
    spool, _ = fill(sample, tmp_path, ROWS)
    manifest = spool.manifest()
    assert manifest is not None
    path = spool.path(manifest.batches[0])
    path.write_bytes(path.read_bytes().replace(b"Ada", b"Eve"))
    with pytest.raises(ExportError, match="SPOOL_DAMAGED"):
        sample.open().export(spool, make_context(ListLedger()))
    assert sample.arrived() == []


def test_an_abort_may_come_before_anything_and_after_everything(sample: Any, tmp_path: Path) -> None:
    spool, _ = fill(sample, tmp_path, ROWS)
    ledger = ListLedger()
    sample.open().abort(spool, make_context(ledger))
    assert sample.arrived() == []
    sample.open().export(spool, make_context(ledger))
    sample.open().abort(spool, make_context(ledger))
    assert sorted(sample.arrived()) == sorted(GOOD)


def test_a_check_says_what_is_wrong_and_writes_nothing(sample: Any) -> None:
    schema = pa.schema([("name", pa.string())])
    sample.open().check()
    sample.open().check(schema)
    assert sample.arrived() == []
    with pytest.raises(ExportError) as caught:
        sample.unusable.check()
    assert caught.value.kind is FailureKind.CONFIGURATION
    with pytest.raises(ExportError, match='"span"') as caught:
        sample.open().check(pa.schema([("span", pa.month_day_nano_interval())]))
    assert caught.value.kind is FailureKind.CONFIGURATION

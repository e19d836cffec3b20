"""What the columns do to times, texts and documents: nothing, or they refuse."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.storage import NOON, at, claimed, new_run, stored, token_of

from storage.database import Database, StorageError
from storage.jobs.jobs import put_job, record_outcome, set_high_water
from storage.runs.ledger import LedgerRow, append, entries
from storage.runs.rejections import RejectedValues, add, read
from storage.runs.runs import claim_runs, get_run, insert_runs, list_runs, settle, waiting_or_running

NAIVE = datetime(2026, 3, 8, 12, 0)  # noqa: DTZ001 - the tests are about its being refused
TIMES = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 12, 0, 0, tzinfo=UTC),
    datetime(2026, 3, 8, 12, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 12, 0, 0, 999_999, tzinfo=UTC),
    datetime(2026, 3, 8, 12, 0, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 23, 30, tzinfo=timezone(timedelta(hours=-11, minutes=-30))),
    datetime(2026, 11, 1, 1, 30, fold=0, tzinfo=ZoneInfo("America/New_York")),
    datetime(2026, 11, 1, 1, 30, fold=1, tzinfo=ZoneInfo("America/New_York")),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


def test_times_of_any_zone_come_back_as_the_same_instant_in_utc_and_sort_as_instants(database: Database) -> None:
    numbers = stored(database, *(new_run(scheduled_time=time, run_time=time) for time in reversed(TIMES)))
    with database.read() as session:
        found = waiting_or_running(session, "nightly")
    assert [run.scheduled_time for run in found] == [time.astimezone(UTC) for time in TIMES]
    assert [run.id for run in found] == list(reversed(numbers))
    assert all(run.scheduled_time.tzinfo is UTC for run in found)


@pytest.mark.parametrize("index", range(1, len(TIMES)))
def test_what_is_due_is_decided_to_the_microsecond(database: Database, index: int) -> None:
    due = TIMES[index].astimezone(UTC)
    stored(database, new_run(run_time=TIMES[index]))
    with database.write() as session:
        before = due - timedelta(microseconds=1)
        assert claim_runs(session, owner="a", now=before, lease_seconds=-1, limit=9) == []
        (run,) = claim_runs(session, owner="a", now=TIMES[index], lease_seconds=-1, limit=9)
    assert (run.started_at, run.claim_expires_at) == (due, due - timedelta(seconds=1))


@pytest.mark.parametrize(
    "write",
    [
        lambda s: insert_runs(s, [new_run(scheduled_time=NAIVE)], now=NOON),
        lambda s: insert_runs(s, [new_run(run_time=NAIVE)], now=NOON),
        lambda s: insert_runs(s, [new_run()], now=NAIVE),
        lambda s: claim_runs(s, owner="a", now=NAIVE, lease_seconds=60, limit=1),
        lambda s: set_high_water(s, {"nightly": NAIVE}),
        lambda s: record_outcome(s, "nightly", streak=0, last_success=NAIVE),
        lambda s: put_job(s, name="nightly", origin="file", definition={}, now=NAIVE),
    ],
)
def test_a_naive_time_is_refused_and_nothing_is_written(database: Database, write: Any) -> None:
    def both() -> None:
        with database.write() as session:
            insert_runs(session, [new_run("other")], now=NOON)
            write(session)

    with pytest.raises(ValueError, match="no time zone"):
        both()
    with database.read() as session:
        assert list_runs(session) == []


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d of a pair", "\udc80", "\N{PILE OF POO} è 日本", "", "'; --\\"])
def test_a_message_from_anywhere_is_kept_with_what_no_database_takes_replaced(database: Database, text: str) -> None:
    run = claimed(database)
    with database.write() as session:
        add(session, run.id, [RejectedValues(number=1, values={"Name": text}, code="C", message=text)])
        settle(session, run.id, token_of(run), now=NOON, outcome="failed", failure=("data", "CODE", text))
    kept = "".join("\ufffd" if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in text)
    with database.read() as session:
        found = get_run(session, run.id)
        (row,) = read(session, run.id)
    assert found is not None
    assert found.failure_message == kept
    assert (row.message, row.values) == (kept, {"Name": text}), "values stay as they were sent"


def test_documents_come_back_equal(database: Database) -> None:
    document = {"z": 1, "a": [1.5, True, None, "\0", "ü", {"deep": {"er": []}}], "big": 2**60, "": {}}
    run = claimed(database, new_run(definition=document))
    with database.write() as session:
        append(session, run.id, token_of(run), LedgerRow(step="s", mark="done", at=NOON, data=document))
    assert run.definition == document
    assert list(run.definition) == list(document), "in their order"
    with database.read() as session:
        assert entries(session, run.id)[0].data == document


@pytest.mark.parametrize("bad", [{"a": float("nan")}, {"a": object()}, {"at": NOON}])
def test_what_is_no_json_is_refused(database: Database, bad: dict[str, object]) -> None:
    run = claimed(database)
    row = LedgerRow(step="s", mark="done", at=NOON, data=bad)
    with pytest.raises((ValueError, TypeError)), database.write() as session:
        append(session, run.id, token_of(run), row)
    with pytest.raises((ValueError, TypeError)):
        stored(database, new_run(minutes=1, definition=bad))
    with database.read() as session:
        assert entries(session, run.id) == []


def test_an_error_of_the_database_shows_no_values(database: Database) -> None:
    with pytest.raises(StorageError) as caught, database.write() as session:
        add(session, 4711, [RejectedValues(number=1, values={"Email": "ada@example.com"}, code="C", message="m")])
    assert caught.value.code == "INTERNAL"
    chain = f"{caught.value} {caught.value.__cause__}"
    assert "ada@example.com" not in chain
    assert "\n" not in str(caught.value)


def test_numbers_larger_than_32_bits_are_kept(database: Database) -> None:
    run = claimed(database)
    rows = (5_000_000_001, 5_000_000_000, 1, 0)
    with database.write() as session:
        settle(session, run.id, token_of(run), now=at(1), outcome="partial", rows=rows)
        add(session, run.id, [RejectedValues(number=5_000_000_001, values={}, code="C", message="m")])
    with database.read() as session:
        found = get_run(session, run.id)
        assert read(session, run.id, after=5_000_000_000)[0].number == 5_000_000_001
    assert found is not None
    assert (found.rows_read, found.rows_accepted, found.rows_rejected, found.rows_unchanged) == rows

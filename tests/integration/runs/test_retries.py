"""Runs that repeat an ended one: rows that may have arrived are never sent again by accident."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.errors.operation_error import OperationError
from scheduler.operations.retry import retry, retry_rejected
from scheduler.runs.resend import RETRIED
from storage.database import Database, open_database
from storage.jobs import jobs
from storage.runs import ledger, runs
from storage.runs.ledger import LedgerRow
from storage.runs.rejections import RejectedValues
from storage.runs.runs import NewRun

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
_minutes = itertools.count()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    opened.close()


def definition(mode: str) -> dict[str, object]:
    export: dict[str, object] = {"connection": "crm", "type": "salesforce", "object": "Contact", "mode": mode}
    return {"name": "a", "source": "w", "query": "select 1", "export": export}


def ended(database: Database, *steps: str, mode: str = "append", accepted: int = 0, retry_of: int | None = None) -> int:
    """Store a failed run that wrote ``steps`` of batch 1 into its ledger and refused one row; return its number."""
    with database.write() as session:
        jobs.put_job(session, name="a", origin="cli", definition=definition(mode), now=NOW)
        row = NewRun(
            job="a",
            scheduled_time=NOW + timedelta(minutes=next(_minutes)),
            run_time=NOW,
            kind="retry" if retry_of else "manual",
            definition=definition(mode),
            reason=RETRIED if retry_of else None,
            retry_of=retry_of,
        )
        [number] = runs.insert_runs(session, [row], now=NOW)
        assert number is not None
        claimed = runs.claim_run(session, number, owner="n", now=NOW, lease_seconds=30)
        assert claimed is not None
        token = claimed.token or ""
        refused = [RejectedValues(number=1, values={"LastName": "x"}, code="X", message="x")]
        for step in steps:
            mark = "intended" if step.endswith("?") else "done"
            entry = LedgerRow(step=step.removesuffix("?"), mark=mark, batch=1, at=NOW)
            ledger.append(session, number, token, entry, rejected=refused)
        failure = ("transient", "CONNECTION_LOST", "gone")
        counts = (2, accepted, 1, 0)
        runs.settle(session, number, token, now=NOW, outcome="failed", failure=failure, rows=counts)
    return number


UNCERTAIN = [("batch.send?",), ("batch.send?", "batch.send"), ("batch.settled", "batch.send?")]
CERTAIN = [(), ("job.create",), ("batch.send?", "batch.send", "batch.settled"), ("batch.send?", "batch.absent")]


@pytest.mark.parametrize("steps", UNCERTAIN)
def test_an_append_whose_rows_may_have_arrived_is_not_repeated_unless_a_person_says_so(
    database: Database, steps: tuple[str, ...]
) -> None:
    number = ended(database, *steps)
    with pytest.raises(OperationError, match="never learned what became of them"):
        retry(database, number, NOW)
    assert retry(database, number, NOW, again=True).retry_of == number


@pytest.mark.parametrize("steps", CERTAIN)
def test_an_append_of_which_certainly_nothing_arrived_is_repeated(database: Database, steps: tuple[str, ...]) -> None:
    number = ended(database, *steps)
    assert retry(database, number, NOW).retry_of == number


def test_an_upsert_may_always_be_repeated(database: Database) -> None:
    with pytest.raises(OperationError):
        retry(database, ended(database, "batch.send?"), NOW)
    with database.write() as session:
        update = definition("update")
        update["export"] = {**update["export"], "key": "Ext__c", "upsert": True}  # type: ignore[dict-item]  # a table
        jobs.put_job(session, name="a", origin="cli", definition=update, now=NOW)
    assert retry(database, 1, NOW).retry_of == 1


def test_refused_rows_go_once_more_if_certainly_none_of_them_arrived_the_last_time(database: Database) -> None:
    first = ended(database, "batch.send?", "batch.send", "batch.settled", accepted=1)
    for steps in CERTAIN:
        ended(database, *steps, retry_of=first)
    found, hopeless = retry_rejected(database, first, NOW)
    assert (found.retry_of, found.reason, hopeless) == (first, RETRIED, 0)


@pytest.mark.parametrize("steps", UNCERTAIN)
def test_refused_rows_that_may_have_arrived_the_last_time_are_not_sent_again(
    database: Database, steps: tuple[str, ...]
) -> None:
    first = ended(database, "batch.send?", "batch.send", "batch.settled", accepted=1)
    ended(database, *steps, retry_of=first)
    with pytest.raises(OperationError, match="were sent again by run 2"):
        retry_rejected(database, first, NOW)

"""A begun append that ended: what its failure says, and how it goes on from its own ledger and spool."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.cases import SCHEMA
from support.crash import Nursery, nursery
from support.whole_runs import SECRET, Workplace

from exporter.emulator.server import Emulator
from storage import runs

EXPORT = '[jobs.things.export]\nconnection = "crm"\nobject = "Thing__c"\nbatch_size = 2\n'
ROWS = [{"Name": f"first {n}"} for n in range(8)]
OTHERS = [{"Name": f"second {n}"} for n in range(8)]
BATCHES = 4
GOES_ON = "goes on where it stopped, and sends nothing twice"


@pytest.fixture(scope="module")
def cradle() -> Iterator[Nursery]:
    with nursery("support.whole_runs") as started:
        yield started


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(schema=SCHEMA, client_secret=SECRET) as served:
        yield served


def names(emulator: Emulator) -> list[str]:
    return sorted(str(record["Name"]) for record in emulator.org.records("Thing__c"))


def begun(work: Workplace, cradle: Nursery, *, rows: Sequence[Mapping[str, str]] = ROWS) -> int:
    """Ask for a run, and kill it when two batches were handed over; return its number."""
    work.put(rows)
    number = work.ask()
    for kill_at in range(12, 200):
        if sum(row.step == "batch.send" and row.mark == "done" for row in work.entries(number)) >= 2:
            work.put(OTHERS)
            return number
        cell = {"directory": str(work.directory), "run": number, "kill_at": kill_at}
        assert cradle.run(cell) == -signal.SIGKILL
    raise AssertionError("nothing is ever sent")


def edited(work: Workplace, old: str, new: str) -> Workplace:
    """Return the workplace with another config file."""
    text = work.file.read_text(encoding="utf-8")
    assert old in text
    work.file.write_text(text.replace(old, new), encoding="utf-8")
    return Workplace(work.directory)


WRONG = {
    "secret": (f'client_secret = "{SECRET}"', 'client_secret = "an0ther-s3cret"'),
    "connection": ("crm", "org"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_begun_append_that_a_wrong_config_ends_says_what_is_in_doubt_and_how_it_goes_on(
    emulator: Emulator, cradle: Nursery, tmp_path: Path, wrong: str
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    run = edited(work, *WRONG[wrong]).finish(number)
    assert (run.outcome, run.failure_kind) == ("failed", "configuration")
    message = str(run.failure_message)
    assert f"of {BATCHES} batches are complete" in message
    assert "in doubt: batch " in message
    assert "batches were not sent" in message
    assert f"schedctl retry {number} {GOES_ON}" in message


def test_a_begun_append_that_is_canceled_says_what_was_not_sent(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    with work.database() as database, database.write() as session:
        runs.request_cancel(session, number, now=datetime.now(UTC))
    run = work.finish(number)
    assert run.outcome == "canceled"
    assert run.rows_accepted == len(names(emulator))
    assert "batches were not sent" in str(run.reason)
    assert GOES_ON in str(run.reason)


def test_an_upsert_that_ends_says_that_all_rows_may_be_sent_again(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    upsert = EXPORT + 'mode = "update"\nkey = "Ext_Id__c"\nupsert = true\n'
    work = Workplace(tmp_path / "work", url=emulator.url, job=upsert)
    rows = [row | {"Ext_Id__c": f"e{number}"} for number, row in enumerate(ROWS)]
    number = begun(work, cradle, rows=rows)
    run = edited(work, *WRONG["secret"]).finish(number)
    assert "in doubt: batch " in str(run.failure_message)
    assert "which leaves none there twice" in str(run.failure_message)

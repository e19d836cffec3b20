"""Runs that may not start beside others: one writer to an object, so many runs on a connection, over all processes."""

from collections import Counter
from typing import Any

from sqlalchemy import text
from support.storage import NOON, all_at_once, at, new_run, stored, token_of

from scheduler.outcomes.quota_hold import Hold
from scheduler.runs.concurrency import Gate, Limits
from storage.database import Database
from storage.runs.ledger import LedgerRow, append
from storage.runs.runs import StoredRun, claim_run, claim_runs, postpone, settle, take_back

FAILURE = ("transient", "SERVER_UNAVAILABLE", "later")
CLAIMERS = """
import sys
from support.storage import at
from scheduler.runs.concurrency import Gate, Limits
from storage.database import open_database
from storage.runs.runs import claim_runs
database = open_database(sys.argv[1])
limits = Limits(max_running={"db": 5})
#go
for _ in range(20):
    with database.write() as session:
        for run in claim_runs(
            session, owner=sys.argv[2], now=at(60), lease_seconds=60, limit=3, gate=Gate(limits, {}, at(60))
        ):
            print(run.id)
"""


def definition(mode: str, name: str = "Contact", connection: str = "crm") -> dict[str, Any]:
    export = {"connection": connection, "type": "salesforce", "object": name, "mode": mode}
    return {"source": "db", "export": export}


def claim(
    database: Database, *, limit: int = 100, limits: Limits | None = None, held: dict[str, Hold] | None = None
) -> list[StoredRun]:
    with database.write() as session:
        gate = Gate(limits or Limits(), held or {}, at(60))
        return claim_runs(session, owner="a", now=at(60), lease_seconds=60, limit=limit, gate=gate)


def test_runs_of_different_jobs_that_write_alone_come_one_after_the_other(database: Database) -> None:
    first, second, lead, third = stored(
        database,
        new_run("a", 1, definition=definition("update")),
        new_run("b", 2, definition=definition("truncate")),
        new_run("c", 3, definition=definition("truncate", "Lead")),
        new_run("d", 4, definition=definition("append")),
    )
    (run, other) = claim(database)
    assert [run.id, other.id] == [first, lead]
    assert claim(database) == []
    for expected in (second, third):
        with database.write() as session:
            settle(session, run.id, token_of(run), now=at(61), outcome="succeeded")
        (run,) = claim(database)
        assert run.id == expected


def test_the_gate_holds_for_a_run_that_is_claimed_by_its_number_too(database: Database) -> None:
    _, second = stored(
        database,
        new_run("a", 1, definition=definition("update")),
        new_run("b", 2, definition=definition("update")),
    )
    (run,) = claim(database)
    with database.write() as session:
        values: dict[str, Any] = {"owner": "b", "now": at(60), "lease_seconds": 60}
        assert claim_run(session, second, gate=Gate(Limits(), {}, at(60)), **values) is None
        settle(session, run.id, token_of(run), now=at(61), outcome="succeeded")
        assert claim_run(session, second, gate=Gate(Limits(), {}, at(60)), **values) is not None


def test_a_truncate_that_was_interrupted_after_it_wrote_keeps_its_object(database: Database) -> None:
    truncate, _ = stored(
        database,
        new_run("a", 1, definition=definition("truncate")),
        new_run("b", 2, definition=definition("update")),
    )
    (run,) = claim(database)
    with database.write() as session:
        append(session, run.id, token_of(run), LedgerRow(step="delete", mark="done", at=NOON))
        postpone(session, run.id, token_of(run), now=at(60), run_time=at(90), failure=FAILURE)
    assert claim(database) == [], "its next try is in the future, and the object is half empty"
    with database.write() as session:
        session.execute(text("UPDATE run SET run_time = scheduled_time"))
    assert [each.id for each in claim(database)] == [truncate]
    with database.write() as session:
        take_back(session, owners=["a"], now=at(60))
    assert [each.id for each in claim(database)] == [truncate]


def test_many_that_are_held_back_do_not_hide_one_that_may_start(database: Database) -> None:
    held = Hold(connection="crm", code="LIMIT_EXCEEDED", message="m", since=at(59), until=at(64))
    stored(database, *(new_run(f"j{number}", number / 100, definition=definition("append")) for number in range(1200)))
    (free,) = stored(database, new_run("free", 30, definition=definition("append", connection="other")))
    assert [run.id for run in claim(database, limit=2, held={"crm": held})] == [free]


def test_the_room_on_a_connection_counts_the_runs_of_every_owner(database: Database) -> None:
    numbers = stored(database, *(new_run(f"j{number}", number, definition=definition("append")) for number in range(6)))
    limits = Limits(max_running={"crm": 4})
    assert [run.id for run in claim(database, limit=3, limits=limits)] == numbers[:3]
    assert [run.id for run in claim(database, limit=3, limits=limits)] == numbers[3:4]
    assert claim(database, limit=3, limits=limits) == []


def test_four_processes_that_claim_at_once_keep_to_the_limits(database: Database, url: str) -> None:
    runs = [new_run(f"u{number}", number, definition=definition("update", f"O{number % 3}")) for number in range(12)]
    runs += [new_run(f"p{number}", number, definition=definition("append", "Other")) for number in range(12)]
    numbers = stored(database, *runs)
    lines = all_at_once(CLAIMERS, [[url, f"process-{number}"] for number in range(4)])
    taken = Counter(int(number) for line in lines for number in line.split())
    assert set(taken.values()) == {1}
    objects = Counter(runs[numbers.index(number)].definition["export"]["object"] for number in taken)
    assert len(taken) == 5, "the room on the source connection"
    assert all(objects[name] <= 1 for name in ("O0", "O1", "O2"))

"""Transactions: whole or not at all, whoever dies in the middle; and processes that work on one database at once."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select, text
from sqlmodel import SQLModel
from support.storage import NOON, Process, all_at_once, at, claimed, new_run, stored, token_of

from storage import key_values
from storage.database import Database, StorageError, open_database
from storage.runs.runs import attempts, check_token, claim_run, claim_runs, insert_runs, list_runs, take_back

PREAMBLE = """
import sys
from support.storage import at, new_run, NOON, token_of
from storage import key_values
from storage.database import open_database
from storage.runs.ledger import LedgerRow, append
from storage.runs.runs import claim_runs, insert_runs, settle
database = open_database(sys.argv[1])
"""
WRITER = """
blocks_at = int(sys.argv[2])
#go
number = 0
while True:
    number += 1
    with database.write() as session:
        key_values.put(session, "first", str(number))
        insert_runs(session, [new_run(f"job-{number}", minute) for minute in range(30)], now=NOON)
        print("middle", flush=True)
        if number == blocks_at:
            sys.stdin.readline()
        taken = claim_runs(session, owner="writer", now=at(100), lease_seconds=60, limit=1)
        append(session, taken[0].id, taken[0].token, LedgerRow(step="send", mark="done", at=NOON))
        settle(session, taken[0].id, taken[0].token, now=NOON, outcome="succeeded")
        key_values.put(session, "last", str(number))
    print(number, flush=True)
"""
CLAIMER = """
def claim():
    with database.write() as session:
        return claim_runs(session, owner=sys.argv[2], now=at(1000), lease_seconds=60, limit=7)
#go
runs = claim()
#go
taken = []
while runs:
    taken += runs
    for run in runs:
        with database.write() as session:
            settle(session, run.id, run.token, now=NOON, outcome="succeeded")
    runs = claim()
print(*(run.id for run in taken))
"""
INSERTER = """
#go
for start in range(0, 1000, 100):
    with database.write() as session:
        slots = [new_run(f"job-{slot % 20}", slot // 20) for slot in range(start, start + 100)]
        print(*(number for number in insert_runs(session, slots, now=NOON) if number))
"""


POSTGRESQL_ONLY = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)


def count(database: Database, table: str) -> int:
    with database.read() as session:
        return session.execute(select(func.count()).select_from(SQLModel.metadata.tables[table])).scalar_one()


def test_a_transaction_is_undone_by_any_exception_and_done_without_one(database: Database) -> None:
    def broken() -> None:
        with database.write() as session:
            key_values.put(session, "a", "1")
            insert_runs(session, [new_run()], now=NOON)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    with database.write() as session:
        assert key_values.get(session, "a") is None
        assert list_runs(session) == []
        key_values.put(session, "a", "2")
    with database.read() as session:
        assert key_values.get(session, "a") == "2"


def test_a_write_in_a_session_for_reading_is_an_error(database: Database) -> None:
    with pytest.raises(StorageError), database.read() as session:
        key_values.put(session, "a", "1")
    with database.write() as session:
        key_values.put(session, "a", "2")
    with database.read() as session:
        assert key_values.get(session, "a") == "2"


def test_readers_see_what_was_committed_while_a_writer_is_at_work(database: Database) -> None:
    with database.write() as writing:
        key_values.put(writing, "a", "1")
        with database.read() as reading:
            assert key_values.get(reading, "a") is None
    with database.read() as reading:
        assert key_values.get(reading, "a") == "1"


def test_threads_that_count_together_lose_no_count(database: Database) -> None:
    def add(_: int) -> None:
        with database.write() as session:
            if database.kind == "postgresql":
                session.execute(text("LOCK TABLE setting IN EXCLUSIVE MODE"))
            key_values.put(session, "count", str(int(key_values.get(session, "count") or 0) + 1))

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(add, range(200)))
    with database.read() as session:
        assert key_values.get(session, "count") == "200"


def test_a_writer_that_waits_too_long_is_told_that_the_database_is_busy(
    url: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.engine.pool.PATIENCE", 0.2 if kind == "sqlite" else 1)
    first, second = open_database(url), open_database(url)
    with first.write() as session:
        key_values.put(session, "a", "1")
        with pytest.raises(StorageError) as caught, second.write() as other:
            key_values.put(other, "a", "2")
    assert caught.value.code == "BUSY"
    first.close()
    second.close()


def test_a_thread_that_waits_too_long_for_another_is_told_so_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("engine.pool", "database"):
        monkeypatch.setattr(f"storage.{module}.PATIENCE", 1)
    database = open_database(url)
    codes: list[str] = []

    def write() -> None:
        try:
            with database.write() as session:
                key_values.put(session, "a", "2")
        except StorageError as error:
            codes.append(error.code)

    thread = threading.Thread(target=write)
    with database.write() as session:
        key_values.put(session, "a", "1")
        thread.start()
        thread.join(timeout=30)
    assert codes == ["BUSY"]
    database.close()


@pytest.mark.parametrize("blocks_at", [1, 4])
def test_a_writer_killed_in_the_middle_of_a_transaction_leaves_nothing_half(url: str, blocks_at: int) -> None:
    with Process(PREAMBLE + WRITER, url, str(blocks_at)) as process:
        process.wait()
        process.go()
        said = [process.line() for _ in range(2 * blocks_at - 1)]
    assert said[-1] == "middle"
    check_whole(url, committed=blocks_at - 1, at_most=blocks_at - 1)


def test_a_writer_killed_anywhere_loses_nothing_that_it_reported(url: str) -> None:
    seed = 20_260_308
    moments = random.Random(seed)
    for _ in range(3):
        with Process(PREAMBLE + WRITER, url, "0") as process:
            process.wait()
            process.go()
            said = [process.line() for _ in range(moments.randrange(1, 40))]
        reported = [int(line) for line in said if line != "middle"]
        check_whole(url, committed=max(reported, default=0), at_most=10_000)
        empty(url)


def check_whole(url: str, *, committed: int, at_most: int) -> None:
    database = open_database(url)
    with database.read() as session:
        first, last = key_values.get(session, "first"), key_values.get(session, "last")
        done = [run for run in list_runs(session, limit=10_000) if run.state == "finished"]
        assert all(len(attempts(session, run.id)) == 1 for run in done)
    assert first == last
    reached = int(last or 0)
    assert committed <= reached <= at_most
    assert (count(database, "run"), len(done)) == (30 * reached, reached)
    assert (count(database, "attempt"), count(database, "ledger")) == (reached, reached)
    if database.kind == "sqlite":
        with database.read() as session:
            assert session.execute(text("PRAGMA integrity_check")).scalars().all() == ["ok"]
    database.close()


def empty(url: str) -> None:
    database = open_database(url)
    with database.write() as session:
        session.execute(text("DELETE FROM run"))
        session.execute(text("DELETE FROM setting"))
    database.close()


def test_four_processes_claim_every_run_exactly_once(database: Database, url: str) -> None:
    free = [new_run(f"free-{minute % 5}", minute, definition={"overlap": "allow"}) for minute in range(200)]
    alone = [new_run(f"alone-{minute % 10}", minute) for minute in range(100)]
    numbers = stored(database, *free, *alone)
    lines = all_at_once(PREAMBLE + CLAIMER, [[url, f"process-{number}"] for number in range(4)], gates=2)
    taken = Counter(int(number) for line in lines for number in line.split())
    with database.read() as session:
        left = claim_left(database)
        runs = {run.id: run for run in list_runs(session, limit=1000)}
        tries = [len(attempts(session, number)) for number in numbers]
    # A process that finds every job taken stops; what then was left, nobody had claimed.
    assert taken + Counter(left) == Counter(numbers)
    assert all(lines), "not every process claimed something: the test shows little"
    assert tries == [1] * len(numbers)
    assert {run.attempt for run in runs.values()} == {1}


def claim_left(database: Database) -> list[int]:
    left: list[int] = []
    while True:
        with database.write() as session:
            runs = claim_runs(session, owner="last", now=at(1000), lease_seconds=60, limit=500)
            ended = [run.id for run in runs]
            for number in ended:
                session.execute(
                    text("UPDATE run SET state = 'finished', outcome = 'x', token = NULL WHERE id = :id"),
                    {"id": number},
                )
        if not ended:
            return left
        left += ended


def test_four_processes_that_store_the_same_slots_store_each_once(database: Database, url: str) -> None:
    lines = all_at_once(PREAMBLE + INSERTER, [[url]] * 4)
    numbers = Counter(int(number) for line in lines for number in line.split())
    assert len(numbers) == 1000
    assert set(numbers.values()) == {1}
    assert count(database, "run") == 1000
    assert count(database, "definition") == 1


@POSTGRESQL_ONLY  # SQLite has one writer at a time; the others wait for it, and are told so in the end
def test_a_stopped_claimer_holds_up_only_what_it_was_about_to_take(database: Database, url: str) -> None:
    free = {"overlap": "allow"}
    first, unbound, unbound_too = stored(
        database, new_run("a", 0), new_run("free", 0, definition=free), new_run("free", 1, definition=free)
    )
    other, _ = stored(database, new_run("b", 2), new_run("a", 3))
    second = open_database(url)
    with database.write() as stopped:
        assert [run.id for run in claim_runs(stopped, owner="a", now=at(60), lease_seconds=60, limit=2)] == [
            first,
            unbound,
        ]
        with second.write() as session:
            taken = claim_runs(session, owner="b", now=at(60), lease_seconds=60, limit=9)
        assert [run.id for run in taken] == [unbound_too, other]
    second.close()


@POSTGRESQL_ONLY
def test_a_claim_cannot_be_taken_while_its_owner_writes_under_it(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.engine.pool.PATIENCE", 1)
    second = open_database(url)
    run = claimed(database)
    with database.write() as owner:
        check_token(owner, run.id, token_of(run))
        with pytest.raises(StorageError) as caught, second.write() as session:
            take_back(session, owners=["node-a"], now=at(60))
    assert caught.value.code == "BUSY"
    second.close()


@POSTGRESQL_ONLY
def test_a_run_being_claimed_out_of_turn_keeps_its_job_from_other_claimers(database: Database, url: str) -> None:
    early, late = stored(database, new_run("a", 0), new_run("a", 1))
    second = open_database(url)
    with database.write() as stopped:
        assert claim_run(stopped, late, owner="cli", now=at(60), lease_seconds=60) is not None
        with second.write() as session:
            assert claim_runs(session, owner="b", now=at(60), lease_seconds=60, limit=9) == []
            assert claim_run(session, early, owner="b", now=at(60), lease_seconds=60) is None
    second.close()


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_commit_to_a_file_is_on_disk_before_it_is_reported(database: Database) -> None:
    asked = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 20_000}
    with database.write() as session:
        found = {name: session.execute(text(f"PRAGMA {name}")).scalar_one() for name in asked}
    assert found == asked


@POSTGRESQL_ONLY
def test_a_commit_to_a_server_that_forgets_commits_is_on_disk_all_the_same(database: Database) -> None:
    with database.write() as session:
        name = session.execute(text("SELECT current_database()")).scalar_one()
        session.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    database.close()
    names = ("synchronous_commit", "TimeZone", "idle_in_transaction_session_timeout", "lock_timeout")
    with database.write() as session:
        found = [session.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    assert found == ["on", "UTC", "1min", "20s"]


@POSTGRESQL_ONLY
def test_a_restarted_server_is_noticed_by_nobody_who_was_not_in_a_transaction(
    database: Database, postgresql_server: Path
) -> None:
    """The connections are broken as a restart breaks them; other tests use the server."""
    claimed(database)

    def write_both(between: Callable[[], object]) -> None:
        with database.write() as session:
            key_values.put(session, "a", "1")
            between()
            key_values.put(session, "a", "2")

    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    with database.read() as session:
        name = session.execute(text("SELECT current_database()")).scalar_one()
    with psycopg.connect(f"host={postgresql_server} user=postgres", autocommit=True) as connection:
        connection.execute(kill, [name])
        with database.read() as session:
            assert len(list_runs(session)) == 1
        with pytest.raises(StorageError) as caught:
            write_both(lambda: connection.execute(kill, [name]))
    assert caught.value.code == "UNREACHABLE"
    with database.read() as session:
        assert key_values.get(session, "a") is None

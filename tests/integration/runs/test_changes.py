"""Change-only exports as whole runs, into the local Salesforce."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.runs.cases import LONG, SCHEMA, names
from support.runs.whole_runs import SECRET, Workplace

from exporter.emulator.fault_injection import CallFault, RowFault
from exporter.emulator.server import Emulator
from scheduler.daemon.retention import clear
from scheduler.errors.operation_error import OperationError
from scheduler.operations.jobs import forget_job
from scheduler.operations.resync import resync
from scheduler.runs.resend import RETRIED
from storage.jobs import jobs
from storage.runs import runs
from storage.runs.runs import StoredRun

UPSERT = """
changes = "changed"
[jobs.things.export]
connection = "crm"
object = "Thing__c"
mode = "update"
key = "Ext_Id__c"
upsert = true
"""
MIRROR = UPSERT.replace('"changed"', '"mirror"\nmax_deletes = 3')
NEW = """
changes = "new"
changes_key = "Code__c"
[jobs.things.export]
connection = "crm"
object = "Thing__c"
"""
NUMBER = {"type": "double", "precision": 18, "scale": 0, "external_id": True, "unique": True}
Counts = tuple[int, int, int, int]


def things(*names: str, **others: str) -> list[dict[str, Any]]:
    """Make rows with an external id and a code from a name each; ``others`` are named otherwise than their keys."""
    named = {name: name for name in names} | others
    return [{"Name": name, "Ext_Id__c": key, "Code__c": key} for key, name in named.items()]


def without_key(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"Name": row["Name"], "Code__c": row["Code__c"]} for row in rows]


def counts(run: StoredRun) -> Counts:
    return run.rows_read, run.rows_accepted, run.rows_rejected, run.rows_unchanged


def fault(run: StoredRun) -> tuple[str | None, str | None, str | None]:
    return run.outcome, run.failure_kind, run.failure_code


def test_a_run_sends_what_is_new_or_changed_and_counts_the_rest_as_unchanged(
    emulator: Emulator, tmp_path: Path
) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=UPSERT)
    assert counts(shop.run(things("a", "b", "c"))) == (3, 3, 0, 0)
    second = shop.run(things("c", "d", b="B"))
    assert counts(second) == (3, 2, 0, 1)
    assert {key: second.progress[key] for key in ("new", "changed", "unchanged", "gone")} == {
        "new": 1,
        "changed": 1,
        "unchanged": 1,
        "gone": 1,
    }
    assert names(emulator) == ["B", "a", "c", "d"]
    assert counts(shop.run()) == (3, 0, 0, 3)
    assert shop.left() == []


def test_a_refused_row_is_tried_again_each_time_and_a_run_with_unchanged_rows_never_fails_as_a_whole(
    emulator: Emulator, tmp_path: Path
) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=UPSERT)
    for expected in ((3, 2, 1, 0), (3, 0, 1, 2), (3, 0, 1, 2)):
        run = shop.run(things("a", "b", c=LONG))
        assert (counts(run), run.outcome, run.failure_kind) == (expected, "partial", "data")
    assert counts(shop.run(things("a", "b", "c"))) == (3, 1, 0, 2)


def test_new_rows_are_appended_once_and_again_when_they_left_and_came_back(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=NEW)
    shop.run(without_key(things("a", "b")))
    assert counts(shop.run(without_key(things("a", b="B")))) == (2, 0, 0, 2)
    shop.run(without_key(things("b")))
    assert counts(shop.run(without_key(things("a", "b")))) == (2, 1, 0, 1)
    assert names(emulator) == ["a", "a", "b"]


def test_a_mirror_deletes_the_records_of_rows_that_left_by_any_key(emulator: Emulator, tmp_path: Path) -> None:
    for number, key in enumerate(("Ext_Id__c", "Code__c")):
        job = MIRROR.replace("Ext_Id__c", key).replace("upsert = true", "upsert = true" if not number else "")
        with emulator.org.store.writing() as db:
            db.execute('DELETE FROM "Thing__c"')
        other = Workplace(tmp_path / "first" / str(number), url=emulator.url, job=UPSERT)
        other.run(things("a", "b", "c", "d"))
        shop = Workplace(tmp_path / str(number), url=emulator.url, job=job)
        shop.run(things("a", "b", "c", "d"))
        run = shop.run(things("c", "d", "a"))
        assert (counts(run), run.rows_deleted, run.outcome) == ((3, 0, 0, 3), 1, "succeeded")
        assert names(emulator) == ["a", "c", "d"]
        assert shop.run().rows_deleted == 0


def test_a_mirror_by_id_deletes_by_id(emulator: Emulator, tmp_path: Path) -> None:
    Workplace(tmp_path / "first", url=emulator.url, job=UPSERT).run(things("a", "b", "c"))
    ids = {str(record["Name"]): record["Id"] for record in emulator.org.records("Thing__c")}
    job = MIRROR.replace('"Ext_Id__c"', '"id"').replace("upsert = true", "")
    shop = Workplace(tmp_path / "mirror", url=emulator.url, job=job)
    rows = [{"Id": key, "Name": name.upper()} for name, key in ids.items()]
    assert counts(shop.run(rows)) == (3, 3, 0, 0)
    assert shop.run(rows[1:]).rows_deleted == 1
    assert len(names(emulator)) == 2


def test_a_mirror_that_would_delete_too_much_does_nothing_and_says_so(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=MIRROR)
    shop.run(things("a", "b", "c", "d", "e"))
    run = shop.run(things("a", "f"))
    assert fault(run) == ("failed", "data", "TOO_MANY_GONE")
    assert names(emulator) == ["a", "b", "c", "d", "e"]
    assert shop.left() == []


def test_what_a_mirror_cannot_delete_makes_the_run_partial_and_is_tried_again(
    emulator: Emulator, tmp_path: Path
) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=MIRROR)
    shop.run(things("a", "b", "c"))
    held = next(str(record["Id"]) for record in emulator.org.records("Thing__c") if record["Name"] == "b")
    emulator.faults.add(RowFault(object="Thing__c", column="Id", values=(held,), times=100))
    run = shop.run(things("a"))
    assert fault(run) == ("partial", "data", "UNABLE_TO_LOCK_ROW")
    assert "1 record whose rows left the result could not be deleted" in str(run.failure_message)
    assert names(emulator) == ["a", "b"]
    emulator.faults.clear()
    assert shop.run().rows_deleted == 1
    assert names(emulator) == ["a"]


def test_a_record_that_others_deleted_is_no_fault_of_a_mirror(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=MIRROR)
    shop.run(things("a", "b"))
    with emulator.org.store.writing() as db:
        db.execute('DELETE FROM "Thing__c" WHERE "Name" = \'b\'')
    run = shop.run(things("a"))
    assert (run.outcome, run.rows_deleted) == ("succeeded", 0)
    assert counts(shop.run()) == (1, 0, 0, 1)


def test_only_refused_rows_are_sent_by_their_retry_and_count_as_sent_from_then_on(
    emulator: Emulator, tmp_path: Path
) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=NEW)
    refusal = RowFault(object="Thing__c", column="Name", values=("b",), error=("NOT_NOW", "no"))
    emulator.faults.add(refusal)
    emulator.faults.add(replace(refusal, values=("c",), times=2))
    first = shop.run(without_key(things("a", "b", "c")))
    assert counts(first) == (3, 1, 2, 0)
    assert counts(shop.run(kind="retry", reason=RETRIED, retry_of=first.id)) == (2, 1, 1, 0)
    assert counts(shop.run()) == (3, 1, 0, 2)
    assert names(emulator) == ["a", "b", "c"]


def test_a_run_that_fails_in_the_middle_is_gone_on_with_and_never_sends_twice(
    emulator: Emulator, tmp_path: Path
) -> None:
    shop = Workplace(
        tmp_path, url=emulator.url, job=NEW.replace("[jobs.things.export]", "[jobs.things.export]\nbatch_size = 1")
    )
    shop.put(without_key(things("a", "b", "c")))
    number = shop.ask()
    emulator.faults.add(CallFault(pattern=r"POST .*/batch$", action="answer", nth=tuple(range(2, 50))))
    run = shop.attempt(number)
    assert run is not None
    assert run.state == "waiting"
    other = shop.ask()
    assert shop.attempt(other) is None  # it waits for the one that has begun
    emulator.faults.clear()
    assert counts(shop.finish(number)) == (3, 3, 0, 0)
    assert counts(shop.finish(other)) == (3, 0, 0, 3)
    assert names(emulator) == ["a", "b", "c"]


def test_rows_chosen_beside_an_older_snapshot_are_chosen_anew_if_none_was_sent(
    emulator: Emulator, tmp_path: Path
) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=NEW)
    shop.put(without_key(things("a", "b")))
    number = shop.ask()
    emulator.faults.add(CallFault(pattern="POST .*/token$", action="answer"))
    run = shop.attempt(number)
    assert run is not None
    assert (run.state, run.failure_kind) == ("waiting", "transient")
    emulator.faults.clear()
    assert counts(shop.run(without_key(things("a", "b")))) == (2, 2, 0, 0)
    assert counts(shop.finish(number)) == (2, 0, 0, 2)
    assert names(emulator) == ["a", "b"]


def test_rows_of_unknown_fate_hold_up_an_appending_job_until_a_person_decides(
    emulator: Emulator, tmp_path: Path
) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=NEW)
    lost = [
        CallFault(pattern=r"GET .*/batch/[^/]+/result$", action="answer", body="what?", status=200, kind="text/csv")
    ]
    for fault_ in lost:
        emulator.faults.add(fault_)
    first = shop.run(without_key(things("a", "b")))
    assert first.outcome == "failed"
    emulator.faults.clear()
    held = shop.run(without_key(things("a", "b", "c")))
    assert fault(held) == ("failed", "configuration", "ROWS_IN_DOUBT")
    assert "2 rows were handed over by run 1" in str(held.failure_message)
    with shop.database() as database:
        resync(database, shop.job, "sent", datetime.now(UTC))
    assert counts(shop.run()) == (3, 1, 0, 2)
    assert names(emulator) == ["a", "b", "c"]


def test_another_target_asks_a_person_whether_the_rows_count_there(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=UPSERT)
    shop.run(things("a"))
    with Emulator(schema=SCHEMA, client_secret=SECRET) as another:
        moved = Workplace(tmp_path, url=another.url, job=UPSERT)
        run = moved.run()
        assert fault(run) == ("failed", "configuration", "SNAPSHOT_ELSEWHERE")
        assert emulator.url in str(run.failure_message)
        assert names(another) == []
        with moved.database() as database:
            resync(database, moved.job, "adopt", datetime.now(UTC))
        assert counts(moved.run(things("a", "b"))) == (2, 1, 0, 1)
        assert counts(moved.run()) == (2, 0, 0, 2)


def test_a_snapshot_that_is_gone_sends_nothing_until_a_person_says_so(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=UPSERT)
    shop.run(things("a"))
    kept = shop.snapshot()
    assert kept is not None
    assert kept.file is not None
    Path(kept.file).unlink()
    assert fault(shop.run()) == ("failed", "configuration", "SNAPSHOT_MISSING")
    with shop.database() as database:
        resync(database, shop.job, "resend", datetime.now(UTC))
    assert counts(shop.run()) == (1, 1, 0, 0)
    assert counts(shop.run()) == (1, 0, 0, 1)


def test_a_resync_is_refused_where_it_makes_no_sense(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=UPSERT)
    now = datetime.now(UTC)
    with shop.database() as database, pytest.raises(OperationError, match="has sent nothing yet"):
        resync(database, shop.job, "resend", now)
    shop.run(things("a"))
    shop.ask()
    with shop.database() as database:
        with pytest.raises(OperationError, match="no row of job things is in doubt"):
            resync(database, shop.job, "sent", now)
        with database.write() as session:
            runs.claim_runs(session, owner="other", now=now, lease_seconds=60, limit=1)
        with pytest.raises(OperationError, match="run 2 of job things goes on"):
            resync(database, shop.job, "resend", now)
        with pytest.raises(OperationError, match="sends every row each time"):
            resync(database, shop.job.model_copy(update={"changes": "all"}), "resend", now)


def test_a_disk_that_takes_no_snapshot_leaves_the_run_waiting_until_it_does(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=NEW)
    shop.config.storage.snapshots.write_text("a file where the directory should be")
    shop.put(without_key(things("a", "b")))
    number = shop.ask()
    for _ in range(5):  # more often than the job is retried
        run = shop.attempt(number)
        assert run is not None
        assert (run.state, run.failure_code) == ("waiting", "DIRECTORY_NOT_WRITABLE")
    shop.config.storage.snapshots.unlink()
    assert counts(shop.finish(number)) == (2, 2, 0, 0)
    assert names(emulator) == ["a", "b"]
    assert counts(shop.run()) == (2, 0, 0, 2)


def test_a_canceled_run_keeps_what_it_got_accepted(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=NEW + "batch_size = 1\n")
    shop.put(without_key(things("a", "b", "c")))
    number = shop.ask()
    emulator.faults.add(CallFault(pattern=r"POST .*/batch$", action="answer", nth=tuple(range(2, 50))))
    shop.attempt(number)
    emulator.faults.clear()
    with shop.database() as database, database.write() as session:
        assert runs.request_cancel(session, number, now=datetime.now(UTC))
    canceled = shop.finish(number)
    assert (canceled.outcome, canceled.rows_accepted) == ("canceled", 1)
    assert counts(shop.run()) == (3, 2, 0, 1)
    assert names(emulator) == ["a", "b", "c"]


def test_files_hold_only_what_changed(tmp_path: Path) -> None:
    job = """
changes = "changed"
changes_key = ["Code__c"]
[jobs.things.export]
connection = "out"
file = "things.csv"
"""
    shop = Workplace(tmp_path, job=job)
    shop.run(without_key(things("a", "b")))
    assert counts(shop.run(without_key(things("a", b="B")))) == (2, 1, 0, 1)
    assert (tmp_path / "out" / "things.csv").read_text().splitlines() == ['"Name","Code__c"', '"B","b"']
    assert fault(shop.run(without_key([*things("a"), *things("a")])))[1:] == ("data", "CHANGES_KEY_NOT_UNIQUE")


def test_the_snapshot_of_a_removed_job_goes_when_a_person_forgets_the_job(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=UPSERT)
    shop.run(things("a"))
    now = datetime.now(UTC)
    with shop.database() as database:
        with database.write() as session:
            jobs.remove_job(session, "things", now=now)
        for days, left in ((1, 1), (60, 1), (61, 0)):
            if not left:
                forget_job(database, "things", now=now)
            moment = now + timedelta(days=days)
            clear(
                database,
                shop.config.storage.spool,
                snapshots_directory=shop.config.storage.snapshots,
                history=30 * 86_400,
                now=moment,
            )
            assert len(list(shop.config.storage.snapshots.iterdir())) == left


def test_files_that_others_keep_beside_the_snapshots_are_left_alone(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path / "one", url=emulator.url, job=UPSERT)
    shop.run(things("a"))
    other = Workplace(tmp_path / "two", url=emulator.url, job=UPSERT)
    other.run(things("b"))
    directory = shop.config.storage.snapshots
    theirs = [directory / "warehouse.parquet", directory / ".x.partial"]
    for file in theirs:
        file.write_text("mine")
    kept = other.snapshot()
    assert kept is not None
    assert kept.file is not None
    theirs.append(Path(kept.file).rename(directory / Path(kept.file).name))
    with shop.database() as database:
        later = datetime.now(UTC) + timedelta(days=60)
        clear(database, shop.config.storage.spool, snapshots_directory=directory, history=86_400, now=later)
    assert all(file.exists() for file in theirs)
    assert counts(shop.run()) == (1, 0, 0, 1)


def test_another_mode_asks_a_person_too_since_its_keys_are_others(emulator: Emulator, tmp_path: Path) -> None:
    append = NEW.replace('"Code__c"', '"Ext_Id__c"')
    Workplace(tmp_path, url=emulator.url, job=append).run(things("a"))
    update = Workplace(tmp_path, url=emulator.url, job=UPSERT)
    assert fault(update.run())[2] == "SNAPSHOT_ELSEWHERE"
    with update.database() as database:
        resync(database, update.job, "resend", datetime.now(UTC))
    assert counts(update.run()) == (1, 1, 0, 0)
    assert fault(Workplace(tmp_path, url=emulator.url, job=append).run())[2] == "SNAPSHOT_ELSEWHERE"
    assert names(emulator) == ["a"]


@pytest.mark.parametrize("damage", [b"", b"PAR1 nothing PAR1", None])
def test_a_snapshot_that_cannot_be_read_is_named_and_a_resync_goes_on_without_it(
    emulator: Emulator, tmp_path: Path, damage: bytes | None
) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=MIRROR)
    shop.run(things("a", "b"))
    kept = shop.snapshot()
    assert kept is not None
    assert kept.file is not None
    whole = Path(kept.file).read_bytes()
    middle = whole[:20] + bytes(each ^ 255 for each in whole[20:60]) + whole[60:]
    Path(kept.file).write_bytes(middle if damage is None else damage)
    run = shop.run()
    assert fault(run) == ("failed", "configuration", "SNAPSHOT_DAMAGED")
    assert kept.file in str(run.failure_message)
    with shop.database() as database:
        resync(database, shop.job, "resend", datetime.now(UTC))
    assert counts(shop.run()) == (2, 2, 0, 0)
    assert counts(shop.run()) == (2, 0, 0, 2)


def test_a_run_whose_staging_is_lost_ends_and_says_what_to_do(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=NEW + "batch_size = 1\n")
    shop.put(without_key(things("a", "b", "c")))
    number = shop.ask()
    emulator.faults.add(CallFault(pattern=r"POST .*/batch$", action="answer", nth=tuple(range(2, 50))))
    shop.attempt(number)
    emulator.faults.clear()
    for staging in shop.config.storage.spool.glob("run-*-changes-*"):
        shutil.rmtree(staging)
    assert shop.finish(number).rows_accepted == 3
    held = shop.run()
    assert fault(held) == ("failed", "configuration", "SNAPSHOT_INCOMPLETE")
    with shop.database() as database:
        resync(database, shop.job, "adopt", datetime.now(UTC))
    assert counts(shop.run(without_key(things("d")))) == (1, 1, 0, 0)


def test_a_canceled_run_counts_what_earlier_attempts_got_accepted_even_if_nobody_answers(
    emulator: Emulator, tmp_path: Path
) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=NEW)
    shop.config.storage.snapshots.write_text("a file where the directory should be")
    shop.put(without_key(things("a", "b")))
    number = shop.ask()
    shop.attempt(number)
    shop.config.storage.snapshots.unlink()
    emulator.faults.add(CallFault(pattern="POST .*/token$", action="answer"))
    with shop.database() as database, database.write() as session:
        assert runs.request_cancel(session, number, now=datetime.now(UTC))
    canceled = shop.finish(number)
    assert (canceled.outcome, counts(canceled)) == ("canceled", (2, 2, 0, 0))


def test_a_snapshot_that_goes_away_while_a_run_goes_on_is_no_leave_to_send_all_again(
    emulator: Emulator, tmp_path: Path
) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=NEW + "batch_size = 1\n")
    shop.run(without_key(things("a", "b")))
    shop.put(without_key(things("a", "b", "c", "d")))
    number = shop.ask()
    emulator.faults.add(CallFault(pattern=r"POST .*/batch$", action="answer", nth=tuple(range(2, 50))))
    shop.attempt(number)
    emulator.faults.clear()
    kept = shop.snapshot()
    assert kept is not None
    assert kept.file is not None
    Path(kept.file).unlink()
    assert shop.finish(number).rows_accepted == 2
    assert fault(shop.run()) == ("failed", "configuration", "SNAPSHOT_INCOMPLETE")
    assert names(emulator) == ["a", "b", "c", "d"]


NUMBERED = {"objects": {"Count__c": {"fields": {"Number__c": NUMBER}}}}


def test_a_mirror_by_a_number_deletes_no_record_whose_number_is_written_otherwise(tmp_path: Path) -> None:
    job = MIRROR.replace("Thing__c", "Count__c").replace("Ext_Id__c", "Number__c")
    with Emulator(schema=NUMBERED, client_secret=SECRET) as emulator:
        work = Workplace(tmp_path / "w", url=emulator.url, job=job)
        work.run([{"Number__c": key, "Name": f"n{key}"} for key in ("1", "2", "3")])
        second = work.run([{"Number__c": key, "Name": "later"} for key in ("1.0", "02", "4")])
        assert (second.outcome, second.rows_accepted, second.rows_deleted) == ("succeeded", 3, 1)
        assert {record["Number__c"] for record in emulator.org.records("Count__c")} == {1, 2, 4}

"""Whatever way a run ends that deleted records, it says how many and how they come back: whole runs of one job."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.runs import whole_runs
from support.runs.cases import LONG
from support.runs.whole_runs import Workplace
from support.salesforce.emulator_org import csv_of, load

from exporter.emulator.fault_injection import CallFault, RowFault
from exporter.emulator.server import Emulator
from exporter.report import Deletions
from scheduler.cli.printing.json_forms import run_details_json, run_json
from scheduler.operations.abandon import abandon
from scheduler.operations.runs import run_details
from scheduler.runs.cancellation import RunControl
from storage import notices
from storage.runs.runs import StoredRun, get_run, request_cancel

TRUNCATE = '[jobs.things.export]\nconnection = "crm"\nobject = "Thing__c"\nmode = "truncate"\nbatch_size = 2\n'
MIRROR = (
    'changes = "mirror"\nmax_deletes = 9\n[jobs.things.export]\nconnection = "crm"\nobject = "Thing__c"\n'
    'mode = "update"\nkey = "Ext_Id__c"\nupsert = true\n'
)
ROWS = [{"Name": f"new {number}", "Ext_Id__c": f"e{number}"} for number in range(3)]


def fill(emulator: Emulator) -> None:
    rows = [[f"old {number}", f"o{number}"] for number in range(6)]
    load(emulator.org, "insert", csv_of(["Name", "Ext_Id__c"], *rows), name="Thing__c")


def workplace(emulator: Emulator, directory: Path, job: str = TRUNCATE) -> Workplace:
    fill(emulator)
    return Workplace(directory, url=emulator.url, job='notify = ["failed"]\n' + job)


@contextmanager
def refusing(emulator: Emulator, code: str = "DELETE_FAILED") -> Iterator[None]:
    """Have Salesforce refuse to delete two of the records."""
    ids = tuple(str(record["Id"]) for record in emulator.org.records("Thing__c"))[:2]
    error = (code, "it is associated with others")
    emulator.faults.add(RowFault(object="Thing__c", column="Id", values=ids, times=99, error=error))
    yield
    emulator.faults.clear()


def begun(work: Workplace, emulator: Emulator) -> int:
    """Have a run delete four of the six records, wait for its next attempt, and return its number."""
    work.put(ROWS)
    number = work.ask()
    with refusing(emulator, "UNABLE_TO_LOCK_ROW"):
        work.attempt(number)
    return number


def told(work: Workplace, run: StoredRun) -> str:
    """Return what the notice of a run says."""
    now = datetime.now(UTC) + timedelta(days=1)
    with work.database() as database, database.write() as session:
        claimed = notices.claim(session, owner="test", now=now, lease_seconds=60, limit=50)
    return "\n".join(each.body for each in claimed if each.run_id == run.id)


def kept_ids(work: Workplace, run: StoredRun) -> Path:
    """Return where the Ids are that a run was to delete."""
    (found,) = work.config.storage.spool.glob(f"run-{run.id}-*-deleted")
    return found


def test_a_truncate_that_could_not_delete_all_says_what_is_gone_and_how_it_comes_back(
    emulator: Emulator, tmp_path: Path
) -> None:
    work = workplace(emulator, tmp_path / "w")
    with refusing(emulator):
        run = work.run(ROWS)
    assert (run.outcome, run.failure_code, run.rows_deleted) == ("failed", "NOT_DELETED", 4)
    assert emulator.org.count("Thing__c", deleted=True) == 4
    kept = kept_ids(work, run)
    words = f"4 of 6 Thing__c records were deleted; their Ids are in {kept.absolute()}. To restore them, undelete"
    assert words in str(run.failure_message)
    assert kept.is_dir()
    assert run_json(run)["rows"]["deleted"] == 4
    assert run.progress["deleted_ids"] == str(kept.absolute())
    notice = told(work, run)
    assert words in notice
    assert "Deleted: 4 records" in notice


def test_a_truncate_whose_rows_are_all_refused_after_it_says_so(emulator: Emulator, tmp_path: Path) -> None:
    work = workplace(emulator, tmp_path / "w")
    emulator.faults.add(
        RowFault(
            object="Thing__c",
            column="Ext_Id__c",
            values=("e0", "e1", "e2"),
            times=9,
            error=("FIELD_CUSTOM_VALIDATION_EXCEPTION", "no"),
        )
    )
    run = work.run(ROWS)
    assert (run.outcome, run.rows_rejected, run.rows_deleted) == ("failed", 3, 6)
    assert "6 of 6 Thing__c records were deleted" in str(run.failure_message)


def test_a_hard_delete_says_that_nothing_comes_back(emulator: Emulator, tmp_path: Path) -> None:
    work = workplace(emulator, tmp_path / "w", TRUNCATE + "hard_delete = true\n")
    with refusing(emulator):
        run = work.run(ROWS)
    assert "4 of 6 Thing__c records were deleted permanently (hard_delete): they cannot be undeleted" in str(
        run.failure_message
    )
    assert emulator.org.count("Thing__c", deleted=True) == 0


def test_an_attempt_that_fails_later_still_tells_what_an_earlier_one_deleted(
    emulator: Emulator, tmp_path: Path
) -> None:
    work = workplace(emulator, tmp_path / "w")
    work.put(ROWS)
    number = work.ask()
    with refusing(emulator, "UNABLE_TO_LOCK_ROW"):
        waiting = work.attempt(number)
    assert waiting is not None
    assert (waiting.state, waiting.rows_deleted) == ("waiting", 4)
    assert "4 of 6 Thing__c records were deleted; the next attempt continues" in str(waiting.failure_message)
    emulator.org.rights = replace(emulator.org.rights, client_secret="another")
    run = work.finish(number)
    assert (run.outcome, run.failure_code, run.rows_deleted) == ("failed", "invalid_client", 4)
    assert "4 of 6 Thing__c records were deleted; their Ids are in" in str(run.failure_message)


def test_a_canceled_run_tells_what_it_deleted(emulator: Emulator, tmp_path: Path) -> None:
    work = workplace(emulator, tmp_path / "w")
    number = begun(work, emulator)
    with work.database() as database, database.write() as session:
        assert request_cancel(session, number, now=datetime.now(UTC))
    run = work.finish(number)
    assert (run.outcome, run.rows_deleted) == ("canceled", 4)
    assert "4 of 6 Thing__c records were deleted; their Ids are in" in str(run.reason)
    assert "undelete" in str(run.reason)


def test_a_run_whose_time_is_over_tells_what_it_deleted(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = workplace(emulator, tmp_path / "w")
    number = begun(work, emulator)
    monkeypatch.setattr(whole_runs, "RunControl", lambda **_: RunControl(timeout=0))
    run = work.finish(number)
    assert (run.outcome, run.failure_code, run.rows_deleted) == ("failed", "TIMEOUT", 4)
    assert "4 of 6 Thing__c records were deleted; their Ids are in" in str(run.failure_message)


def test_a_run_whose_spool_is_gone_tells_what_it_deleted_and_that_the_ids_are_gone(
    emulator: Emulator, tmp_path: Path
) -> None:
    work = workplace(emulator, tmp_path / "w")
    number = begun(work, emulator)
    shutil.rmtree(work.config.storage.spool)
    run = work.finish(number)
    assert (run.outcome, run.failure_code, run.rows_deleted) == ("failed", "SPOOL_GONE", 4)
    words = "4 of 6 Thing__c records were deleted; their Ids were in the spool directory and are gone"
    assert f"{words}. To restore them, find them in the recycle bin" in str(run.failure_message)


def test_an_abandoned_run_tells_what_it_deleted(emulator: Emulator, tmp_path: Path) -> None:
    work = workplace(emulator, tmp_path / "w")
    number = begun(work, emulator)
    with work.database() as database:
        abandon(database, work.config, number, datetime.now(UTC))
        with database.read() as session:
            run = get_run(session, number)
    assert run is not None
    assert (run.outcome, run.failure_code, run.rows_deleted) == ("failed", "ABANDONED", 4)
    assert "4 of 6 Thing__c records were deleted; their Ids are in" in str(run.failure_message)


def test_a_mirror_that_fails_on_the_way_tells_what_it_deleted(emulator: Emulator, tmp_path: Path) -> None:
    work = workplace(emulator, tmp_path / "w", MIRROR)
    work.run([*ROWS, {"Name": "more", "Ext_Id__c": "e3"}, {"Name": "most", "Ext_Id__c": "e4"}])
    emulator.faults.add(CallFault(pattern="/result", action="answer", nth=tuple(range(2, 60))))
    work.put([ROWS[0] | {"Name": "changed"}, ROWS[1]])
    run = work.finish(work.ask())
    deleted, doubt = run.rows_deleted, run.progress["deletions_in_doubt"]
    assert (run.outcome, deleted, doubt) == ("failed", 0, 3)
    assert "It is not known whether 3 Thing__c records were deleted; their Ids are in" in str(run.failure_message)
    assert emulator.org.count("Thing__c", deleted=True) == 3
    assert kept_ids(work, run).is_dir()


def test_a_run_that_deleted_nothing_and_one_that_succeeded_say_nothing_of_it(
    emulator: Emulator, tmp_path: Path
) -> None:
    work = workplace(emulator, tmp_path / "w")
    done = work.run(ROWS)
    assert (done.outcome, done.rows_deleted, done.failure_message, done.reason) == ("succeeded", 6, None, None)
    failed = work.run([{"Name": LONG, "Ext_Id__c": "e"}])
    assert (failed.failure_code, failed.rows_deleted) == ("ROWS_DO_NOT_FIT", 0)
    assert "were deleted" not in str(failed.failure_message)
    assert failed.rows_read == 1
    assert "deleted" not in failed.progress
    assert emulator.org.count("Thing__c") == 3


def test_a_run_that_waits_to_go_on_shows_what_it_deleted_so_far(emulator: Emulator, tmp_path: Path) -> None:
    work = workplace(emulator, tmp_path)
    number = begun(work, emulator)
    with work.database() as database:
        waiting = run_details(database, number)
    assert waiting.run.state == "waiting"
    assert waiting.so_far is not None
    assert waiting.so_far.deletions == Deletions(deleted=4, listed=6)
    assert run_details_json(waiting)["so_far"] == {
        "accepted": 0,
        "rejected": 0,
        "deleted": 4,
        "deletions_in_doubt": 0,
        "in_doubt": [],
    }
    work.finish(number)
    with work.database() as database:
        assert run_details(database, number).so_far is None

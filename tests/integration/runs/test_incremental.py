"""Appends whose query names the last slot: no row is selected twice, whatever became of the slots before."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.runs.cases import names
from support.runs.crash import Nursery
from support.runs.whole_runs import Workplace

from exporter.emulator.server import Emulator
from scheduler.errors.operation_error import OperationError
from scheduler.operations.abandon import abandon
from scheduler.operations.retry import retry, retry_rejected
from scheduler.runs.incremental import COMPLETED
from storage.runs import runs
from storage.runs.runs import NewRun, StoredRun

APPEND = '[jobs.things.export]\nconnection = "crm"\nobject = "Thing__c"\nbatch_size = 2\n'
UPSERT = APPEND + 'mode = "update"\nkey = "Ext_Id__c"\nupsert = true\n'
ALL_ROWS = "select * from 'rows.parquet'"
NEW_ROWS = (
    "select * exclude (n) from 'rows.parquet' where :last_scheduled_time is null or "
    "n > date_diff('minute', timestamptz '2026-11-26 03:00:00+00', :last_scheduled_time)"
)
"""Row n came into being in minute n, and the slots are a minute apart: the first one is at minute 0."""


def rows(*minutes: int, each: int = 8) -> list[dict[str, object]]:
    return [
        {"n": minute, "Name": f"{minute}-{k}", "Ext_Id__c": f"{minute}-{k}"} for minute in minutes for k in range(each)
    ]


def all_names(*minutes: int, each: int = 8) -> list[str]:
    return sorted(str(row["Name"]) for row in rows(*minutes, each=each))


def workplace(emulator: Emulator, tmp_path: Path, job: str = APPEND) -> Workplace:
    work = Workplace(tmp_path / "work", url=emulator.url, job=job)
    return edited(work, ALL_ROWS, NEW_ROWS)


def edited(work: Workplace, old: str, new: str) -> Workplace:
    text = work.file.read_text(encoding="utf-8")
    assert old in text
    work.file.write_text(text.replace(old, new), encoding="utf-8")
    return Workplace(work.directory)


def begun(work: Workplace, cradle: Nursery) -> int:
    """Ask for a run of 8 rows, and kill it when a part of them was sent; return its number."""
    number = work.ask(kind="schedule")
    sends = "batch.send"
    work.kill_until(cradle, number, lambda rows: sum(row.step == sends for row in rows) >= 2, first=12)
    work.take_back()
    return number


def broken_off(work: Workplace, cradle: Nursery) -> int:
    number = begun(work, cradle)
    run = edited(work, 'client_id = "emulator"', 'client_id = "wrong"').finish(number)
    edited(work, 'client_id = "wrong"', 'client_id = "emulator"')
    assert run.outcome == "failed"
    return number


def again(work: Workplace, number: int) -> StoredRun:
    with work.database() as database:
        asked = retry(database, number, datetime.now(UTC), spool_root=work.config.storage.spool)
    return work.finish(asked.id)


def test_a_slot_does_not_select_the_rows_of_an_append_that_broke_off(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = workplace(emulator, tmp_path)
    work.put(rows(0))
    first = broken_off(work, cradle)
    before = names(emulator)
    second = work.run(rows(0, 1), kind="schedule")
    assert (second.outcome, second.failure_kind, second.failure_code) == ("failed", "data", "UNFINISHED_RUN")
    assert f"schedctl retry {first} sends the rest of that run" in str(second.failure_message)
    assert names(emulator) == before
    assert again(work, first).outcome == "succeeded"
    assert work.run(kind="schedule").outcome == "succeeded"
    assert names(emulator) == all_names(0, 1)


def test_a_slot_waits_while_the_append_before_it_is_tried_again(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = workplace(emulator, tmp_path)
    work.put(rows(0))
    first = begun(work, cradle)
    work.put(rows(0, 1))
    second = work.ask(kind="schedule")
    with work.database() as database, database.write() as session:  # the first one waits for its next attempt
        session.connection().exec_driver_sql("UPDATE run SET run_time = '2100-01-01T00:00:00Z' WHERE id = ?", (first,))
    run = work.attempt(second)
    assert run is not None
    assert (run.state, run.failure_kind, run.failure_code) == ("waiting", "transient", "UNFINISHED_RUN")
    assert work.finish(first).outcome == "succeeded"
    assert work.finish(second).outcome == "succeeded"
    assert names(emulator) == all_names(0, 1)


@pytest.mark.parametrize("most", ['max_rejected = "50%"', "max_rejected = 0"])
def test_a_slot_does_not_select_accepted_rows_again_since_others_were_rejected(
    emulator: Emulator, tmp_path: Path, most: str
) -> None:
    work = workplace(emulator, tmp_path, f"{most}\n{APPEND}")
    wrong = {"n": 0, "Name": "x" * 300, "Ext_Id__c": "long"}
    first = work.run([*rows(0), wrong], kind="schedule")
    assert (first.rows_accepted, first.rows_rejected) == (8, 1)
    second = work.run([*rows(0, 1), wrong], kind="schedule")
    assert (second.outcome, second.rows_read) == ("succeeded", 8)
    assert names(emulator) == all_names(0, 1)


def test_a_slot_of_which_all_rows_were_rejected_is_selected_by_the_next(emulator: Emulator, tmp_path: Path) -> None:
    work = workplace(emulator, tmp_path)
    first = work.run([{"n": 0, "Name": "x" * 300, "Ext_Id__c": "long"}], kind="schedule")
    assert (first.outcome, first.rows_rejected) == ("failed", 1)
    assert work.run(rows(0, 1), kind="schedule").rows_read == 16


def test_an_upsert_selects_the_rows_of_a_slot_again_that_did_not_succeed(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = workplace(emulator, tmp_path, UPSERT)
    work.put(rows(0))
    broken_off(work, cradle)
    second = work.run(rows(0, 1), kind="schedule")
    assert (second.outcome, second.rows_read, names(emulator)) == ("succeeded", 16, all_names(0, 1))


def test_a_slot_that_is_run_again_selects_what_it_selected_then(emulator: Emulator, tmp_path: Path) -> None:
    work = workplace(emulator, tmp_path, UPSERT)
    runs_ = [work.run(rows(*range(minute + 1)), kind="schedule") for minute in range(3)]
    assert [run.rows_read for run in runs_] == [8, 8, 8]
    with work.database() as database:
        repeated = retry(database, runs_[1].id, datetime.now(UTC), spool_root=work.config.storage.spool)
    assert work.finish(repeated.id).rows_read == 16  # minutes 1 and 2, since the query has no upper bound


def test_what_a_later_slot_has_sent_too_is_not_sent_by_retry(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = workplace(emulator, tmp_path)
    work.put(rows(0))
    first = broken_off(work, cradle)
    work = edited(work, NEW_ROWS, ALL_ROWS.replace("*", "* exclude (n)"))  # as a version before would have done
    assert work.run(rows(0, 1), kind="schedule").rows_accepted > 8
    with work.database() as database, pytest.raises(OperationError, match=f"nothing of run {first} is left to send"):
        retry(database, first, datetime.now(UTC), spool_root=work.config.storage.spool)


def test_an_append_that_a_person_has_completed_by_hand_keeps_no_slot_back(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = workplace(emulator, tmp_path)
    work.put(rows(0))
    first = broken_off(work, cradle)
    second = work.run(rows(0, 1), kind="schedule")
    assert f"schedctl runs abandon {first}" in str(second.failure_message)
    with work.database() as database:
        assert abandon(database, work.config, first, datetime.now(UTC)).reason == COMPLETED
        for run_id, says in ((first, "has ended already"), (second.id, "has ended already")):
            with pytest.raises(OperationError, match=says):
                abandon(database, work.config, run_id, datetime.now(UTC))
        with pytest.raises(OperationError, match="counts as completed by hand"):
            retry(database, first, datetime.now(UTC), spool_root=work.config.storage.spool)
    third = work.run(rows(0, 1, 2), kind="schedule")
    assert (third.outcome, third.rows_read) == ("succeeded", 16)


def test_a_run_for_a_slot_before_all_others_does_not_select_what_they_have_sent(
    emulator: Emulator, tmp_path: Path
) -> None:
    work = workplace(emulator, tmp_path)
    work.put(rows(0))
    later = work.finish(work.ask(kind="schedule"))
    slot = datetime(2026, 11, 20, tzinfo=UTC)
    new = NewRun(job="things", scheduled_time=slot, run_time=slot, kind="manual", definition=work.job.to_dict())
    with work.database() as database, database.write() as session:
        (earlier,) = runs.insert_runs(session, [new], now=slot)
    assert later.rows_read == 8
    assert work.finish(earlier or 0).rows_read == 0


def test_refused_rows_wait_until_all_rows_of_their_run_were_sent(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=APPEND)
    work.put([{"Name": "x" * (300 if n % 2 else 3), "Ext_Id__c": f"e{n}"} for n in range(8)])
    first = broken_off(work, cradle)
    root, now = work.config.storage.spool, datetime.now(UTC)
    with work.database() as database:
        with pytest.raises(OperationError, match=f"schedctl retry {first} sends those first"):
            retry_rejected(database, first, now, spool_root=root)
        retry(database, first, now, spool_root=root)
    assert work.finish(first).rows_rejected == 4
    with work.database() as database:
        asked, _ = retry_rejected(database, first, now, spool_root=root)
    assert work.finish(asked.id).rows_read == 4


def test_a_run_of_refused_rows_that_broke_off_is_gone_on_with_by_its_own_number(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=APPEND)
    first = work.run([{"Name": "x" * 300, "Ext_Id__c": f"e{n}"} for n in range(8)]).id
    root, now = work.config.storage.spool, datetime.now(UTC)
    with work.database() as database:
        second, _ = retry_rejected(database, first, now, spool_root=root)
        with pytest.raises(OperationError, match=f"by run {second.id}: it is waiting"):
            retry_rejected(database, first, now, spool_root=root)
    sends = "batch.send"
    work.kill_until(cradle, second.id, lambda rows: sum(row.step == sends for row in rows) >= 2, first=8)
    work.take_back()
    edited(work, 'client_id = "emulator"', 'client_id = "wrong"').finish(second.id)
    work = edited(work, 'client_id = "wrong"', 'client_id = "emulator"')
    with work.database() as database:
        with pytest.raises(OperationError, match=f"broke off, and schedctl retry {second.id} sends the rest"):
            retry_rejected(database, first, now, spool_root=root)
        assert retry(database, second.id, now, spool_root=root).id == second.id

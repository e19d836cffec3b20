"""Operations: views of jobs, slots of backfills, who lives, and what a changed definition keeps."""

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduler.config.build import Config, parse
from scheduler.config.diff import EDITS
from scheduler.errors.operation_error import ErrorKind, OperationError
from scheduler.jobs.definition import Job
from scheduler.nodes import presence
from scheduler.nodes.process import boot_id, process_started, this_node
from scheduler.operations import jobs, runs
from scheduler.operations.jobs import sync_file_jobs
from storage import key_values, nodes
from storage.database import Database, open_database
from storage.jobs import jobs as stored_jobs
from storage.runs import runs as stored_runs
from storage.runs.runs import NewRun

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
TEXT = """
[connections.warehouse]
type = "duckdb"
[connections.files]
type = "file"
directory = "out"
[jobs.nightly]
cron = "0 3 * * *"
source = "warehouse"
query = "select 1"
[jobs.nightly.export]
connection = "files"
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    opened.close()


def config(text: str = TEXT) -> Config:
    return parse(text)


def job(**table: Any) -> Job:
    base: dict[str, Any] = {"source": "warehouse", "query": "select 1", "export": {"connection": "files"}}
    return jobs.make_job("mine", base | table, config(), NOW)


def test_syncing_twice_changes_nothing_the_second_time(database: Database) -> None:
    first = sync_file_jobs(database, config(), NOW)
    assert set(first.put) == {"nightly"}
    second = sync_file_jobs(database, config(), NOW + timedelta(hours=1))
    assert not second.put
    assert not second.remove
    assert [view.name for view in jobs.view_jobs(database)] == ["nightly"]


def test_a_job_that_left_the_file_is_removed_and_one_of_the_command_line_is_not(database: Database) -> None:
    sync_file_jobs(database, config(), NOW)
    jobs.add_job(database, job(), NOW)
    sync_file_jobs(database, config(TEXT.partition("[jobs.")[0]), NOW, confirmed={"nightly"})
    assert [view.name for view in jobs.view_jobs(database)] == ["mine"]


def test_another_query_keeps_what_is_owed_and_another_cron_counts_from_now(database: Database) -> None:
    sync_file_jobs(database, config(), NOW)
    later = NOW + timedelta(days=2)
    sync_file_jobs(database, config(TEXT.replace("select 1", "select 2")), later)
    assert jobs.view_job(database, "nightly").stored.anchored_at == NOW
    sync_file_jobs(database, config(TEXT.replace("0 3 *", "0 4 *")), later)
    assert jobs.view_job(database, "nightly").stored.anchored_at == later


def test_an_edit_that_another_process_stored_meanwhile_stays_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon and a command may notice an edit at once: the second finds nothing left to do, and says nothing."""
    sync_file_jobs(database, config(), NOW)
    edited = config(TEXT.replace("0 3 *", "0 4 *"))

    def be_overtaken(*_: object) -> None:
        monkeypatch.undo()
        sync_file_jobs(database, edited, NOW)

    monkeypatch.setattr(jobs, "_ask_croniter", be_overtaken)
    sync_file_jobs(database, edited, NOW)
    with database.read() as session:
        told = json.loads(key_values.get(session, EDITS) or "{}")
    assert [edit["job"] for edit in told["jobs"]] == ["nightly"]


def test_the_next_fire_is_after_whatever_is_settled_already(database: Database) -> None:
    sync_file_jobs(database, config(), NOW)
    view = jobs.view_job(database, "nightly")
    fire = view.next_fire(NOW)
    assert fire is not None
    assert fire.scheduled_time == datetime(2026, 11, 24, 3, tzinfo=UTC)
    ahead = replace(view, stored=replace(view.stored, high_water=datetime(2026, 11, 25, 3, tzinfo=UTC)))
    fire = ahead.next_fire(NOW)
    assert fire is not None, "a clock that went back fires nothing twice"
    assert fire.scheduled_time == datetime(2026, 11, 26, 3, tzinfo=UTC)


def test_the_state_of_a_job_tells_who_disabled_it(database: Database) -> None:
    sync_file_jobs(database, config(), NOW)
    assert jobs.view_job(database, "nightly").state == "enabled"
    jobs.disable_job(database, "nightly", "because", NOW)
    view = jobs.view_job(database, "nightly")
    assert (view.state, view.next_fire(NOW)) == ("disabled", None)
    jobs.enable_job(database, "nightly", NOW)
    with database.write() as session:
        stored_jobs.disable_job(session, "nightly", by="daemon", reason="5 failures", now=NOW)
    assert jobs.view_job(database, "nightly").state == "auto_disabled"
    assert jobs.view_job(database, "nightly").failing
    assert jobs.add_job(database, job(), NOW).state == "unscheduled"


def test_an_edit_of_what_somebody_else_changed_meanwhile_is_refused(database: Database) -> None:
    added = jobs.add_job(database, job(), NOW)
    jobs.replace_job(database, job(cron="0 5 * * *"), NOW, revision=added.stored.revision)
    with pytest.raises(OperationError, match="somebody else changed job mine"):
        jobs.replace_job(database, job(cron="0 6 * * *"), NOW, revision=added.stored.revision)
    assert jobs.view_job(database, "mine").job.cron == "0 5 * * *"


def test_a_definition_as_a_table_makes_the_same_job_again() -> None:
    made = job(
        cron="0 3 * * *",
        gap="skip",
        max_rejected="5%",
        mapping={
            "columns": [
                {"column": "a", "source": "b"},
                {"column": "c", "string": "$1", "parameters": [{"type": "Timestamp"}]},
            ]
        },
        segment={"id": "42"},
    )
    assert job(**jobs.table_of(made.to_dict())) == made


def slots(cron: str, since: str, count: int) -> list[str]:
    found = runs.slots_from(job(cron=cron), datetime.fromisoformat(since), count, NOW)
    return [slot.isoformat() for slot in found]


def test_the_slots_of_a_backfill_begin_with_one_at_its_very_time() -> None:
    assert slots("0 3 * * *", "2026-11-20T03:00:00+00:00", 2) == [
        "2026-11-20T03:00:00+00:00",
        "2026-11-21T03:00:00+00:00",
    ]
    assert slots("0 3 * * *", "2026-11-20T03:00:01+00:00", 1) == ["2026-11-21T03:00:00+00:00"]
    assert slots("0 3 * * *", "2026-11-23T03:00:00+00:00", 1) == ["2026-11-23T03:00:00+00:00"]


def test_a_backfill_may_begin_before_the_first_slot_that_ever_was() -> None:
    assert slots("0 0 29 2 *", "2020-01-01T00:00:00+00:00", 2) == [
        "2020-02-29T00:00:00+00:00",
        "2024-02-29T00:00:00+00:00",
    ]


@pytest.mark.parametrize(
    ("cron", "since", "count", "says"),
    [
        ("0 3 * * *", "2026-11-22T00:00:00+00:00", 3, "slot 3 of 3 is in the future"),
        ("0 0 30 2 *", "2026-11-22T00:00:00+00:00", 1, "does not come"),
        ("", "2026-11-22T00:00:00+00:00", 2, "--count must be 1"),
        ("0 3 * * *", "2026-11-22T00:00:00+00:00", 0, "use 1 to 10000"),
    ],
)
def test_slots_that_are_not_there_are_a_usage_error(cron: str, since: str, count: int, says: str) -> None:
    with pytest.raises(OperationError, match=says) as caught:
        slots(cron, since, count)
    assert caught.value.kind is ErrorKind.USAGE


def test_a_backfill_finds_its_earlier_runs_among_those_of_other_kinds(database: Database) -> None:
    stored = jobs.add_job(database, job(), NOW).stored
    slot = NOW - timedelta(days=1)
    with database.write() as session:
        new = stored_runs.NewRun(
            job="mine", scheduled_time=slot, run_time=slot, kind="schedule", definition=stored.definition
        )
        stored_runs.insert_runs(session, [new], now=NOW)
    first = runs.backfill(database, stored, [slot], NOW)
    second = runs.backfill(database, stored, [slot, slot + timedelta(hours=1)], NOW)
    assert first.existing == frozenset()
    assert second.existing == {first.runs[0].id}
    assert second.runs[0].id == first.runs[0].id
    assert [run.scheduled_time for run in second.runs] == [slot, slot + timedelta(hours=1)]


def put_node(database: Database, **changes: Any) -> nodes.Node:
    node = replace(this_node("daemon", NOW), **changes)
    with database.write() as session:
        nodes.register(session, node)
    return node


def test_a_daemon_of_this_machine_lives_as_long_as_its_process(database: Database) -> None:
    assert presence.live_daemon(database, NOW) is None
    put_node(database, pid=2**22 + 1, pid_started="1")
    assert presence.live_daemon(database, NOW) is None, "no such process"
    put_node(database, pid_started="1")
    assert presence.live_daemon(database, NOW) is None, "the process id was given to another"
    put_node(database, boot_id="another boot")
    assert presence.live_daemon(database, NOW) is None
    put_node(database, kind="cli")
    assert presence.live_daemon(database, NOW) is None, "not a daemon"
    alive = put_node(database)
    assert alive.pid_started == process_started(os.getpid())
    found = presence.live_daemon(database, NOW + timedelta(hours=1))
    assert found is not None
    assert (found.id, found.host, found.boot_id) == (alive.id, socket.gethostname(), boot_id())


def test_a_daemon_of_another_machine_lives_as_long_as_it_is_seen(database: Database) -> None:
    put_node(database, host="elsewhere")
    assert presence.live_daemon(database, NOW + timedelta(seconds=9)) is not None
    assert presence.live_daemon(database, NOW + timedelta(seconds=11)) is None


def test_what_a_dead_process_held_is_taken_back(database: Database) -> None:
    stored = jobs.add_job(database, job(), NOW).stored
    [asked] = runs.start(database, stored, NOW).runs
    dead = put_node(database, kind="cli", pid_started="1")
    with database.write() as session:
        claimed = stored_runs.claim_run(session, asked.id, owner=dead.id, now=NOW, lease_seconds=30)
    assert claimed is not None
    with presence.present(database, NOW) as node:
        assert runs.get_run(database, asked.id).state == "waiting"
        with database.read() as session:
            assert [known.id for known in nodes.all_nodes(session)] == [node.id]
    with database.read() as session:
        assert nodes.all_nodes(session) == []


def test_refused_rows_are_read_page_by_page(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PAGE", 3)
    stored = jobs.add_job(database, job(), NOW).stored
    [asked] = runs.start(database, stored, NOW).runs
    from storage.runs import rejections  # noqa: PLC0415 - here only

    for count in (0, 3, 7):
        rows = [
            rejections.RejectedValues(number=n, values={"a": n}, code="X", message="x") for n in range(1, count + 1)
        ]
        with database.write() as session:
            rejections.add(session, asked.id, rows)
        assert list(runs.rejected_rows(database, asked.id)) == rows


def test_an_edit_while_a_slot_waits_for_its_delay_changes_when_and_what_it_runs(database: Database) -> None:
    text = TEXT.replace('cron = "0 3 * * *"', 'cron = "0 3 * * *"\ndelay = "2h"')
    assert text != TEXT
    sync_file_jobs(database, config(text), NOW)
    slot = NOW.replace(hour=3) + timedelta(days=1)
    new = NewRun(
        job="nightly",
        scheduled_time=slot,
        run_time=slot + timedelta(hours=2),
        kind="schedule",
        definition=jobs.view_job(database, "nightly").job.to_dict(),
    )
    with database.write() as session:
        (number,) = stored_runs.insert_runs(session, [new], now=slot)
    assert number is not None
    edited = text.replace('delay = "2h"', 'delay = "30m"').replace("select 1", "select 2")
    sync_file_jobs(database, config(edited), slot + timedelta(minutes=1))
    run = runs.get_run(database, number)
    assert (run.run_time, run.definition["query"]) == (slot + timedelta(minutes=30), "select 2")

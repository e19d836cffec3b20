"""Spools beside state databases that are not theirs: removed, replaced, restored, two in one directory, two hosts."""

import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.commands.command import QuickCommand
from support.runs.cases import names
from support.runs.crash import Nursery
from support.runs.whole_runs import OWNER, Workplace

from exporter.emulator.server import Emulator
from scheduler.daemon.daemon import LONGEST_LEASE
from scheduler.daemon.retention import set_aside
from scheduler.errors.operation_error import OperationError
from scheduler.operations.abandon import abandon
from scheduler.operations.retry import retry
from scheduler.operations.status import look
from scheduler.operations.wait_reasons import waits_for
from scheduler.runs import runner
from scheduler.runs.spool_identity import effects, find_place, has_acted
from storage import nodes
from storage.database import Database
from storage.runs import claims, runs
from storage.runs.runs import StoredRun

EXPORT = '[jobs.things.export]\nconnection = "crm"\nobject = "Thing__c"\nbatch_size = 2\n'
OLD = [{"Name": f"old {n}"} for n in range(6)]
NEW = [{"Name": f"new {n}"} for n in range(6)]


def begun(work: Workplace, cradle: Nursery) -> int:
    """Ask for a run of the old rows, and kill it when something was sent; return its number."""
    work.put(OLD)
    number = work.ask()
    work.kill_until(cradle, number, lambda entries: any(row.step == "batch.send" for row in entries))
    return number


def lost(work: Workplace) -> list[str]:
    return sorted(path.name for path in work.config.storage.spool.glob("lost-*"))


def remove_state(work: Workplace) -> None:
    for file in work.directory.glob("state.db*"):
        file.unlink()


def test_a_new_state_beside_an_old_spool_sends_its_own_rows(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    before = names(emulator)
    remove_state(work)
    run = work.run(NEW)
    assert (run.id, run.outcome, run.rows_accepted) == (number, "succeeded", len(NEW))
    assert names(emulator) == sorted([*before, *(row["Name"] for row in NEW)])
    assert [name[:11] for name in lost(work)] == [f"lost-run-{number}-"]


def test_two_states_that_share_a_spool_directory_leave_each_other_alone(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    shared = f'spool = "{tmp_path / "spool"}"'
    first = Workplace(tmp_path / "first", url=emulator.url, job=EXPORT, more=shared)
    second = Workplace(tmp_path / "second", url=emulator.url, job=EXPORT, more=shared)
    number = begun(first, cradle)
    run = second.run(NEW)
    assert (run.id, run.outcome, run.rows_accepted) == (number, "succeeded", len(NEW))
    with second.database() as database:
        assert set_aside(database, second.config.storage.spool) == []
    done = first.finish(number)
    assert (done.outcome, done.rows_accepted) == ("succeeded", len(OLD))
    assert names(emulator) == sorted(row["Name"] for row in [*OLD, *NEW])


def test_a_state_put_back_from_before_its_run_began_sends_nothing_of_what_was_sent(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    work.put(OLD)
    number = work.ask()
    shutil.copytree(work.directory, tmp_path / "backup")
    work.kill_until(cradle, number, has_acted)
    remove_state(work)
    for file in (tmp_path / "backup").glob("state.db*"):
        shutil.copy(file, work.directory)
    before = names(emulator)
    run = work.finish(number)
    assert (run.outcome, run.failure_kind, run.failure_code) == ("failed", "internal", "LEDGER_GONE")
    assert names(emulator) == before
    with work.database() as database, pytest.raises(OperationError, match="--again"):
        retry(database, number, datetime.now(UTC))


def test_a_slot_that_a_restored_state_gives_another_run_number_is_known_by_its_spool(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    work.run(NEW)
    remove = list(work.directory.glob("state.db*"))
    shutil.copytree(work.directory, tmp_path / "backup")
    number = begun(work, cradle)
    for file in remove:
        file.unlink(missing_ok=True)
        if (tmp_path / "backup" / file.name).exists():
            shutil.copy(tmp_path / "backup" / file.name, file)
    before = names(emulator)
    assert work.ask(now=datetime.now(UTC)) == number  # of the same slot, but made later
    run = work.finish(number)
    assert (run.failure_code, names(emulator)) == ("LEDGER_GONE", before)
    assert len(lost(work)) == 1


def test_a_state_put_back_from_the_middle_of_its_run_sends_nothing_twice(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    shutil.copytree(work.directory, tmp_path / "backup")
    known = effects(work.entries(number))
    work.kill_until(cradle, number, lambda entries: effects(entries) >= known + 2, first=4)
    remove_state(work)
    for file in (tmp_path / "backup").glob("state.db*"):
        shutil.copy(file, work.directory)
    before = names(emulator)
    run = work.finish(number)
    assert (run.outcome, run.failure_kind, run.failure_code) == ("failed", "internal", "LEDGER_GONE")
    assert "of it, as one that was restored from a backup" in str(run.failure_message)
    assert "not sent" not in str(run.failure_message)  # by a ledger that does not know
    with work.database() as database, pytest.raises(OperationError, match="--again"):
        retry(database, number, datetime.now(UTC), spool_root=work.config.storage.spool)
    assert names(emulator) == before


def test_a_restored_state_whose_slot_gets_another_number_knows_the_old_spool(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    work.ask()  # so that there is a state
    shutil.copytree(work.directory, tmp_path / "backup")
    number = begun(work, cradle)
    remove_state(work)
    for file in (tmp_path / "backup").glob("state.db*"):
        shutil.copy(file, work.directory)
    with work.database() as database, database.write() as session:  # another job's run takes the number
        session.connection().exec_driver_sql("UPDATE sqlite_sequence SET seq = ? WHERE name = 'run'", (number,))
    before = names(emulator)
    other = work.ask()
    assert other == number + 1
    run = work.finish(other)
    assert (run.failure_code, names(emulator)) == ("LEDGER_GONE", before)
    [name] = lost(work)
    assert name.startswith(f"lost-run-{number}-")
    assert name in str(run.failure_message)


def test_a_begun_run_finds_its_spool_where_the_config_file_said_before(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    text = work.file.read_text(encoding="utf-8").replace("[storage]\n", '[storage]\nspool = "elsewhere"\n')
    work.file.write_text(text, encoding="utf-8")
    run = Workplace(work.directory).finish(number)
    assert (run.outcome, run.rows_accepted, names(emulator)) == ("succeeded", len(OLD), [row["Name"] for row in OLD])


class Host:
    """A workplace's twin on another host: its own spool directory over the same state."""

    def __init__(self, work: Workplace, database: Database, name: str) -> None:
        self.spool = work.directory / name
        self.id, self.places = find_place(database, self.spool)
        self._database = database

    def claim(self, number: int) -> StoredRun | None:
        with self._database.write() as session:
            now = datetime.now(UTC)
            return runs.claim_run(session, number, owner=OWNER, now=now, lease_seconds=30, places=self.places)


@pytest.fixture
def shared(emulator: Emulator, tmp_path: Path, postgresql_url: str) -> Workplace:
    return Workplace(tmp_path / "work", url=emulator.url, job=EXPORT, storage=postgresql_url)


def test_over_postgresql_a_begun_run_goes_on_only_where_its_spool_is(
    emulator: Emulator, cradle: Nursery, shared: Workplace
) -> None:
    number = begun(shared, cradle)
    shared.take_back()
    with shared.database() as database:
        stranger = Host(shared, database, "elsewhere")
        assert stranger.claim(number) is None
        now = datetime.now(UTC)
        with database.write() as session:
            assert runs.claim_runs(session, owner="x", now=now, lease_seconds=30, limit=9, places=stranger.places) == []
            waiting = runs.get_run(session, number)
        assert waiting is not None
        [problem] = [each for each in look(database, now).problems if each.code == "spool_away"]
        assert f"run {number} of things" in problem.message
        assert str(shared.config.storage.spool) in problem.message
        assert "schedctl runs abandon" in str(waits_for(database, shared.config, waiting, now))
    run = shared.finish(number)
    assert (run.outcome, run.rows_accepted, names(emulator)) == ("succeeded", len(OLD), [row["Name"] for row in OLD])


def test_over_postgresql_a_spool_directory_that_was_emptied_is_the_same_place_and_the_run_ends_there(
    emulator: Emulator, cradle: Nursery, shared: Workplace
) -> None:
    number = begun(shared, cradle)
    shutil.rmtree(shared.config.storage.spool)
    shared.put(NEW)
    run = shared.finish(number)
    assert (run.outcome, run.failure_code, run.rows_accepted) == ("failed", "SPOOL_GONE", len(names(emulator)))


def test_hosts_that_share_a_spool_directory_are_one_place(shared: Workplace) -> None:
    with shared.database() as database:
        first, second = (Host(shared, database, name) for name in ("nfs", "nfs"))
        assert first.id == second.id
        assert Host(shared, database, "local").id != first.id


def test_a_shared_place_that_is_not_mounted_on_one_host_is_not_gone(
    shared: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shared.database() as database:
        there = Host(shared, database, "nfs").id
        monkeypatch.setattr(socket, "gethostname", lambda: "other-host")
        assert Host(shared, database, "nfs").id == there
        shutil.move(shared.directory / "nfs", shared.directory / "mounted-elsewhere")
        assert there not in (Host(shared, database, "nfs").places or ())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_abandoned_run_settles_what_salesforce_can_tell(
    emulator: Emulator, cradle: Nursery, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    storage = request.getfixturevalue("postgresql_url") if kind == "postgresql" else None
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT, storage=storage)
    number = begun(work, cradle)
    shutil.rmtree(work.config.storage.spool)
    work.take_back()
    with work.database() as database:
        command = QuickCommand(tmp_path)
        (run,) = command("runs", "abandon", str(number), "--json", "--config", work.file).json["runs"]
        failure = run["failure"]
        (done,) = command("runs", "show", str(number), "--json", "--config", work.file).json["run"]["actions"]
        assert (done["change"], done["command"], done["run"]) == ("abandoned", "schedctl runs abandon", number)
        assert (run["outcome"], failure["kind"], failure["code"]) == ("failed", "internal", "ABANDONED")
        assert run["rows"]["accepted"] == len(names(emulator))
        assert f"schedctl retry {number} --again" in failure["message"]
        for again in (number, 99):
            with pytest.raises(OperationError, match=r"has ended already|no run 99"):
                abandon(database, work.config, again, datetime.now(UTC))
        with database.read() as session:
            assert [node for node in nodes.all_nodes(session) if node.kind == "cli"] == []


def test_a_daemon_beside_it_leaves_a_run_to_the_person_who_abandons_it(
    emulator: Emulator, cradle: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    work.take_back()
    ended: list[StoredRun] = []

    def while_a_daemon_looks(database: Database, *args: Any, **options: Any) -> StoredRun:
        with database.read() as session:
            now = datetime.now(UTC)
            assert claims.expired_claims(session, now=now, longest=LONGEST_LEASE) == []
        ended.append(run_to_its_end(database, *args, **options))
        return ended[-1]

    run_to_its_end = runner.abandon
    monkeypatch.setattr(runner, "abandon", while_a_daemon_looks)
    with work.database() as database:
        abandon(database, work.config, number, datetime.now(UTC))
    assert [run.failure_code for run in ended] == ["ABANDONED"]


def test_an_abandoned_append_whose_spool_is_there_can_go_on(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    work.take_back()
    with work.database() as database:
        run = abandon(database, work.config, number, datetime.now(UTC))
        assert f"schedctl retry {number} goes on where it stopped, and sends nothing twice" in str(run.failure_message)
        assert "--again" not in str(run.failure_message)
        retry(database, number, datetime.now(UTC), spool_root=work.config.storage.spool)
    assert work.finish(number).outcome == "succeeded"
    assert sorted(names(emulator)) == sorted(row["Name"] for row in OLD)


def test_a_run_that_has_sent_nothing_is_canceled_and_not_abandoned(emulator: Emulator, tmp_path: Path) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = work.ask()
    with work.database() as database, pytest.raises(OperationError, match=f"schedctl cancel {number}"):
        abandon(database, work.config, number, datetime.now(UTC))


def test_a_run_that_a_version_before_began_goes_on_from_its_spool_or_ends(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    for number, is_there in enumerate((True, False)):
        work = Workplace(tmp_path / str(number), url=emulator.url, job=EXPORT)
        run_id = begun(work, cradle)
        with work.database() as database, database.write() as session:
            session.connection().exec_driver_sql("DELETE FROM ledger WHERE step = 'spool.bound'")
            session.connection().exec_driver_sql("UPDATE run SET spool_place = NULL")
        [spool] = work.config.storage.spool.glob("run-*")
        (spool / "owner.json").unlink()
        (spool / "sent-from").unlink()
        old = spool.rename(spool.with_name(f"run-{run_id}"))
        if not is_there:
            shutil.rmtree(old)
        work.put(NEW)
        run = work.finish(run_id)
        if is_there:
            assert (run.outcome, run.rows_accepted, len(names(emulator))) == ("succeeded", len(OLD), len(OLD))
        else:
            assert (run.outcome, run.failure_code) == ("failed", "SPOOL_GONE")
            assert run.rows_accepted == len(names(emulator)) - len(OLD)

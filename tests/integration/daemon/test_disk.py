"""Runs are not started on a disk that is nearly full; that is told once, over restarts too, and so is its end."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scheduler.daemon.disk_watch import DiskWatch, free_bytes
from scheduler.nodes.disk_faults import faults_of
from storage import notices
from storage.database import Database, open_database

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MB = 10**6


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    opened.close()


class Machine:
    """A host whose disks have as much room as is said; None: nobody can tell."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.spool = directory / "mount" / "spool"
        self.free: dict[Path, int | None] = {self.spool.parent: 500 * MB, directory: 500 * MB}

    def watch(self) -> DiskWatch:
        return DiskWatch(database=self.database, spool=self.spool, clock=lambda: NOON, free=self.free_at, host="db-1")

    def free_at(self, directory: Path) -> int:
        found = self.free.get(directory)
        if found is None:
            raise FileNotFoundError(directory)
        return found

    def told(self) -> list[str]:
        with self.database.write() as session:
            found = notices.claim(session, owner="x", now=NOON, lease_seconds=1, limit=99)
            for notice in found:
                notices.close(session, notice, owner="x", ending="sent", now=NOON)
        return [notice.subject for notice in found]

    def faults(self, *hosts: str) -> tuple[str, ...]:
        with self.database.read() as session:
            return faults_of(session, hosts)


@pytest.fixture
def machine(database: Database, tmp_path: Path) -> Machine:
    return Machine(database, tmp_path)


SHORT = "no runs are started on db-1: the disk is nearly full"
FINE = "runs are started again on db-1"


@pytest.mark.parametrize("which", ["spool", "state"])
def test_a_disk_that_runs_short_is_told_once_and_so_is_its_end(machine: Machine, tmp_path: Path, which: str) -> None:
    place = machine.spool.parent if which == "spool" else tmp_path
    watch = machine.watch()
    watch.look(200 * MB)
    assert (watch.has_room, machine.told(), machine.faults("db-1")) == (True, [], ())
    machine.free[place] = 199 * MB
    watch.look(200 * MB)
    watch.look(200 * MB)
    assert (watch.has_room, machine.told()) == (False, [SHORT])
    (fault,) = machine.faults("db-1")
    directory = machine.spool if which == "spool" else tmp_path
    assert fault.startswith(
        f"db-1: 199MB are free on the disk of {directory}, and no run is started with less than 200MB"
    )
    machine.free[place] = 219 * MB
    watch.look(200 * MB)
    assert (watch.has_room, machine.told()) == (False, [])
    machine.free[place] = 220 * MB
    watch.look(200 * MB)
    assert (watch.has_room, machine.told(), machine.faults("db-1")) == (True, [FINE], ())


def test_a_restart_announces_nothing_again_and_announces_the_end(machine: Machine) -> None:
    machine.free[machine.spool.parent] = MB
    for _ in range(3):
        restarted = machine.watch()
        restarted.look(200 * MB)
        assert not restarted.has_room
    assert machine.told() == [SHORT]
    machine.free[machine.spool.parent] = 500 * MB
    machine.watch().look(200 * MB)
    assert machine.told() == [FINE]


def test_a_lowered_limit_counts_at_once_and_0_never_minds(machine: Machine) -> None:
    watch = machine.watch()
    watch.look(600 * MB)
    assert not watch.has_room
    watch.look(100 * MB)
    assert watch.has_room
    machine.free[machine.spool.parent] = 0
    watch.look(0)
    assert watch.has_room
    assert machine.told() == [SHORT, FINE]


def test_a_directory_that_is_not_made_yet_is_judged_by_the_one_it_will_be_in(machine: Machine) -> None:
    machine.free[machine.spool.parent] = None
    watch = machine.watch()
    watch.look(200 * MB)
    assert watch.has_room
    machine.free[machine.spool.parent.parent] = 3 * MB
    watch.look(200 * MB)
    assert not watch.has_room


def test_where_nobody_can_tell_runs_are_started(machine: Machine) -> None:
    machine.free.clear()
    watch = machine.watch()
    watch.look(200 * MB)
    assert watch.has_room


def test_status_forgets_a_host_that_is_no_more(machine: Machine) -> None:
    machine.free[machine.spool.parent] = MB
    machine.watch().look(200 * MB)
    assert machine.faults() == ()
    assert len(machine.faults("db-1", "db-2")) == 1


def test_the_real_disk_has_room_of_some_size(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
    with pytest.raises(FileNotFoundError):
        free_bytes(tmp_path / "nowhere")

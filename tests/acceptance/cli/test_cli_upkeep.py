"""`schedctl db`: the state database looked into and copied, while a daemon works or not."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from support.commands.command import CONFIG, NIGHTLY, Command, QuickCommand

from storage import key_values
from storage.database import open_database


@pytest.fixture
def schedctl(tmp_path: Path) -> Command:
    quick = QuickCommand(tmp_path)
    quick("reload", "--confirm")
    return quick


def test_a_sound_database_is_told_with_its_schema(schedctl: Command) -> None:
    answer = schedctl("db", "check", "--json").json
    assert (answer["kind"], answer["sound"], answer["faults"]) == ("sqlite", True, [])
    assert answer["schema"] == answer["current_schema"]


def test_a_newer_schema_is_a_fault(schedctl: Command) -> None:
    with closing(sqlite3.connect(schedctl.state / "state.db", isolation_level=None)) as state:
        state.execute("UPDATE schedctl_schema SET version_num = '9999'")
    answer = schedctl("db", "check", "--json", code=1)
    assert "its schema is 9999, newer than" in answer.json["faults"][0]


def test_a_damaged_file_is_told_and_not_copied(schedctl: Command, tmp_path: Path) -> None:
    (schedctl.state / "state.db").write_bytes(b"no database at all" * 1000)
    assert schedctl("db", "check", "--json", code=1).json["sound"] is False
    schedctl("db", "backup", tmp_path / "copy.db", code=1)
    assert not list(tmp_path.glob("copy*"))


def test_a_backup_is_whole_private_and_never_overwrites(schedctl: Command, tmp_path: Path) -> None:
    with closing(sqlite3.connect(schedctl.state / "state.db", isolation_level=None)) as state:
        state.execute("INSERT INTO setting (key, value) VALUES ('mine', 'kept')")  # lies in the WAL while this is open
        answer = schedctl("db", "backup", tmp_path / "copy.db", "--json").json
    assert answer == {"copy": str(tmp_path / "copy.db"), "bytes": (tmp_path / "copy.db").stat().st_size}
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT value FROM setting WHERE key = 'mine'").fetchone() == ("kept",)
    schedctl.fails("db", "backup", tmp_path / "copy.db", code=1, says="already")
    schedctl.fails("db", "backup", tmp_path / "no" / "copy.db", code=1, says="cannot be copied")


def test_a_postgresql_database_is_looked_into_and_its_copies_are_left_to_pg_dump(
    tmp_path: Path, postgresql_url: str
) -> None:
    quick = QuickCommand(tmp_path)
    quick.write(f'[storage]\nurl = "{postgresql_url}"\n')
    assert quick("db", "check", "--json", code=1).json["faults"] == ["it holds no state of schedctl"]
    quick("list")
    answer = quick("db", "check", "--json").json
    assert (answer["kind"], answer["sound"]) == ("postgresql", True)
    assert answer["schema"] == answer["current_schema"]
    quick.fails("db", "backup", tmp_path / "copy", code=1, says="pg_dump")


def test_without_a_state_database_nothing_is_made(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    quick.fails("db", "check", code=5, says="there is no state database")
    quick.fails("db", "backup", tmp_path / "copy.db", code=5, says="there is no state database")
    assert not quick.state.exists()


def test_copies_made_while_others_write_are_whole_and_can_be_gone_on_with(schedctl: Command, tmp_path: Path) -> None:
    """Each transaction writes two settings that belong together: a copy holds both of one, or neither."""
    stop, written = threading.Event(), [0]

    def write() -> None:
        database = open_database(f"sqlite:///{schedctl.state / 'state.db'}")
        while not stop.is_set():
            with database.write() as session:
                written[0] += 1
                for key in ("left", "right"):
                    key_values.put(session, key, str(written[0]))
                    key_values.put(session, f"{key}-{written[0] % 500}", "x" * 2000)
        database.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        left: str | None = "0"
        for number in range(5):
            before, limit = int(left or 0) + 2, time.monotonic() + 60
            while written[0] < before:  # it goes on being written to
                assert time.monotonic() < limit
                time.sleep(0.01)
            copy = tmp_path / f"copy{number}.db"
            schedctl("db", "backup", copy)
            database = open_database(f"sqlite:///{copy}", migrate=False)
            with database.read() as session:
                left, right = key_values.get(session, "left"), key_values.get(session, "right")
            database.close()
            assert left == right
            assert int(left or 0) >= before - 1
    finally:
        stop.set()
        writer.join(timeout=60)
    schedctl.write(f'[storage]\nurl = "sqlite:///{copy}"\n' + CONFIG + NIGHTLY)
    assert schedctl("db", "check", "--json").json["sound"]
    schedctl("run", "nightly", "--wait")

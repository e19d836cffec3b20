"""The command line beside a daemon that lives: status, reload, runs that it executes, and who may not disturb it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.commands.command import CONFIG, NIGHTLY, SCHEDCTL, Command, QuickCommand

from scheduler.runs.quota_hold_store import hold
from scheduler.state.seen_files import SYNCED, is_as_seen
from storage.database import open_database
from storage.fast_read import glance

DEADLINE = 60.0


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.1)


def is_in_line(schedctl: Command) -> bool:
    with glance(schedctl.state / "state.db") as found:
        return is_as_seen(schedctl.config, found.setting(SYNCED))


@pytest.fixture
def schedctl(tmp_path: Path) -> Command:
    return Command(tmp_path, "[daemon]\ndrain_timeout = 5\n" + CONFIG + NIGHTLY)


@pytest.fixture
def daemon(schedctl: Command) -> Iterator[subprocess.Popen[bytes]]:
    """Start a daemon, wait until it is alive, and stop it in the end."""
    with (schedctl.directory / "daemon.log").open("wb") as log:
        process = subprocess.Popen([SCHEDCTL, "daemon"], env=schedctl.environment, cwd=schedctl.directory, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or schedctl("status", code=None).code == 0)
        assert process.poll() is None, (schedctl.directory / "daemon.log").read_text(encoding="utf-8")
        yield process
    finally:
        process.terminate()
        code = process.wait(timeout=60)
    assert code == 0


def test_status_tells_of_a_daemon_that_lives_and_of_one_that_went(
    schedctl: Command, daemon: subprocess.Popen[bytes]
) -> None:
    status = schedctl("status", "--json").json
    assert status["daemon"]["pid"] == daemon.pid
    assert status["config"]["path"] == str(schedctl.config)
    assert status["config"]["fault"] is None
    assert f"process {daemon.pid}" in schedctl("status").out
    refused = schedctl("daemon", code=1).err.splitlines()[-1]
    assert refused.startswith("schedctl: another schedctl daemon"), refused
    daemon.terminate()
    daemon.wait(timeout=60)
    assert schedctl("status", "--json", code=1).json["daemon"] is None


def test_a_run_that_is_waited_for_is_left_to_the_daemon(schedctl: Command, daemon: subprocess.Popen[bytes]) -> None:
    answer = schedctl("run", "nightly", "--wait", "--json")
    [done] = answer.json["runs"]
    assert (done["outcome"], done["attempt"]) == ("succeeded", 1)
    assert "run.settled" in (schedctl.directory / "daemon.log").read_text(encoding="utf-8")
    assert "no daemon is alive" not in schedctl("run", "nightly").err
    assert daemon.poll() is None


def test_a_reload_takes_a_good_file_and_refuses_a_bad_one(schedctl: Command, daemon: subprocess.Popen[bytes]) -> None:
    schedctl.write(CONFIG + NIGHTLY + NIGHTLY.replace("nightly", "second"))
    assert "has read" in schedctl("reload").out
    assert len(schedctl("list", "--json").json["jobs"]) == 2
    schedctl.write(CONFIG + NIGHTLY.replace("0 3 *", "0 33 *"))
    wait_until(lambda: "config.refused" in (schedctl.directory / "daemon.log").read_text(encoding="utf-8"))
    schedctl.fails("reload", code=4, says="jobs.nightly.cron")
    status = schedctl("status", "--json", code=1).json
    assert status["daemon"]["pid"] == daemon.pid
    assert "jobs.nightly.cron" in status["config"]["fault"]
    schedctl.write(CONFIG + NIGHTLY)
    wait_until(lambda: schedctl("status", code=None).code == 0)
    assert daemon.poll() is None


def test_a_config_file_that_becomes_a_pipe_stops_neither_the_daemon_nor_its_end(
    schedctl: Command, daemon: subprocess.Popen[bytes]
) -> None:
    schedctl.config.unlink()
    os.mkfifo(schedctl.config)
    wait_until(lambda: "it is a pipe" in str(schedctl("status", "--json", code=None).json["config"]["fault"]))
    schedctl.fails("reload", code=4, says="it is a pipe, not a regular file")
    assert "it is a pipe" in schedctl("list").err
    daemon.terminate()
    assert daemon.wait(timeout=60) == 0


def test_a_name_that_is_given_up_heals_the_file_that_has_it(schedctl: Command, daemon: subprocess.Popen[bytes]) -> None:
    add = ["--source", "warehouse", "--query", "select 1 as a", "--connection", "files"]
    for name in ("first", "second"):
        schedctl("add", name, *add)
    more = "".join(NIGHTLY.replace("nightly", name) for name in ("first", "second"))
    schedctl.write(CONFIG + NIGHTLY + more)
    wait_until(lambda: "schedctl remove second" in str(schedctl("status", "--json", code=None).json["config"]["fault"]))
    schedctl("remove", "first")
    wait_until(lambda: "jobs.first" not in str(schedctl("status", "--json", code=None).json["config"]["fault"]))
    assert "schedctl remove second" in schedctl("status", "--json", code=1).json["config"]["fault"]
    schedctl("remove", "second")
    wait_until(lambda: schedctl("status", code=None).code == 0)
    assert {job["origin"] for job in schedctl("list", "--json").json["jobs"]} == {"file"}
    assert daemon.poll() is None


def test_a_command_with_another_config_file_leaves_the_daemons_jobs_alone(
    schedctl: Command, daemon: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    jobs = CONFIG + NIGHTLY.replace("nightly", "other")
    other.write_text(jobs, encoding="utf-8")
    assert [job["name"] for job in schedctl("list", "--json", "--config", other).json["jobs"]] == ["other"]
    assert [job["name"] for job in schedctl("list", "--json").json["jobs"]] == ["nightly"]
    other.write_text(f'[storage]\nurl = "sqlite:///{schedctl.state}/state.db"\n{jobs}', encoding="utf-8")
    answer = schedctl("list", "--json", "--config", other)
    assert [job["name"] for job in answer.json["jobs"]] == ["nightly"]
    assert f"the daemon of this state database reads {schedctl.config}" in answer.err
    schedctl.fails(
        "add",
        "x",
        "--source",
        "warehouse",
        "--query",
        "select 1 as a",
        "--connection",
        "files",
        "--config",
        other,
        code=5,
        says=f"is the state of {schedctl.config}",
    )
    assert daemon.poll() is None


def test_status_tells_which_connection_is_held_and_until_when(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    quick("list")
    database = open_database(f"sqlite:///{quick.state / 'state.db'}")
    with database.write() as session:
        held = hold(session, "crm", code="REQUEST_LIMIT_EXCEEDED", message="all used", now=datetime.now(UTC))
    database.close()
    told = quick("status", code=1).out
    until = f"{held.until:%Y-%m-%dT%H:%M:%SZ}"
    assert f"connection crm starts no runs until {until}: REQUEST_LIMIT_EXCEEDED: all used" in " ".join(told.split())
    (found,) = quick("status", "--json", code=1).json["holds"]
    assert (found["connection"], found["code"]) == ("crm", "REQUEST_LIMIT_EXCEEDED")


def test_the_daemon_leaves_word_that_the_stored_jobs_are_those_of_the_files(
    schedctl: Command, daemon: subprocess.Popen[bytes]
) -> None:
    """A command that only looks then reads no config file: with thousands of jobs that takes seconds."""
    assert daemon.poll() is None
    wait_until(lambda: is_in_line(schedctl))
    good = schedctl.config.read_text(encoding="utf-8")
    schedctl.config.write_text(good.replace("cron = ", "corn = "), encoding="utf-8")
    wait_until(lambda: "corn" in str(schedctl("status", "--json", code=None).json["config"]["fault"]))
    assert not is_in_line(schedctl)
    schedctl.config.write_text(good, encoding="utf-8")
    wait_until(lambda: is_in_line(schedctl))
    assert schedctl("status", "--json").json["config"]["fault"] is None


def test_an_edit_is_shown_before_it_is_taken_over_and_by_reload_after_it(
    schedctl: Command, daemon: subprocess.Popen[bytes]
) -> None:
    assert daemon.poll() is None
    assert schedctl("check", "--diff").out.splitlines()[-1] == "no job changes"
    text = schedctl.config.read_text(encoding="utf-8")
    edited = schedctl.directory / "edited.toml"
    edited.write_text(text.replace('"10m"', '"2h"'), encoding="utf-8")
    ahead = schedctl("check", "--diff", "--json", "--config", str(edited)).json["diff"]
    (change,) = ahead["jobs"]
    assert (change["job"], change["change"], change["keys"]) == ("nightly", "changed", ["delay"])
    assert ahead["fires"]["added"] == ahead["fires"]["dropped"] == 0 < ahead["fires"]["moved"]
    assert schedctl("list", "--json").json["jobs"][0]["delay"] == 600, "nothing was stored"
    edited.rename(schedctl.config)
    wait_until(lambda: schedctl("list", "--json").json["jobs"][0]["delay"] == 7200)
    wait_until(lambda: "config.job_changed" in (schedctl.directory / "daemon.log").read_text(encoding="utf-8"))
    told = schedctl("reload", "--json").json["last_edit"]
    assert told["jobs"] == ahead["jobs"]
    assert "moved" in schedctl("reload").out
    log = (schedctl.directory / "daemon.log").read_text(encoding="utf-8")
    assert '"event": "config.job_changed", "job": "nightly", "change": "changed", "keys": ["delay"]' in log


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("/proc/nowhere/state.db", "the state database sqlite:////proc/nowhere/state.db cannot be made"),
        ("file/state.db", "name another path"),
        ("locked/state.db", "Is a directory"),
    ],
)
def test_a_state_that_cannot_be_made_is_told_with_its_fix_by_the_daemon_too(
    schedctl: Command, place: str, says: str
) -> None:
    (schedctl.directory / "file").write_text("", encoding="utf-8")
    (schedctl.directory / "locked" / "state.db.lock").mkdir(parents=True)
    schedctl.write(f'[storage]\nurl = "sqlite:///{place}"\n' + CONFIG)
    told = schedctl("daemon", code=5).err
    assert says in told
    assert "internal error" not in told


def minds_hangups(pid: int) -> bool:
    """Whether a process ignores SIGHUP or has a handler for it; proc(5)."""
    masks = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines())
    return bool((int(masks["SigIgn"], 16) | int(masks["SigCgt"], 16)) >> (signal.SIGHUP - 1) & 1)


def test_a_reload_that_is_asked_for_while_it_starts_does_not_end_it(schedctl: Command) -> None:
    with (schedctl.directory / "daemon.log").open("wb") as log:
        process = subprocess.Popen([SCHEDCTL, "daemon"], env=schedctl.environment, cwd=schedctl.directory, stderr=log)
    try:
        wait_until(lambda: minds_hangups(process.pid))
        assert not (schedctl.state / "state.db").exists(), "it has not begun to read"
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: process.poll() is not None or schedctl("status", code=None).code == 0)
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(timeout=60)

"""One config file has one state, and one daemon: whoever asks, in whichever environment."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.commands.command import CONFIG, NIGHTLY, SCHEDCTL, Command, QuickCommand
from support.commands.other_user import BECOME_NOBODY, held_by_another_process, needs_root

from scheduler.state import location


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.1)


@contextmanager
def daemon(command: Command, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon with these variables on top; kill it at the end, as by kill -9."""
    log = command.directory / "daemon.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [SCHEDCTL, "daemon"], env={**command.environment, **environment}, cwd=command.directory, stderr=out
        )
    try:
        until(lambda: process.poll() is not None or "daemon.started" in log.read_text(encoding="utf-8"))
        assert process.poll() is None, log.read_text(encoding="utf-8")
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def everyones() -> Iterator[Path]:
    """Return a directory that other users can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="schedctl-test-") as name:
        directory = Path(name).resolve()
        directory.chmod(0o755)
        yield directory


def test_a_shell_meets_the_state_of_a_service_while_it_runs_and_after_it_was_killed(tmp_path: Path) -> None:
    schedctl = Command(tmp_path)
    service = {"STATE_DIRECTORY": str(tmp_path / "service")}
    with daemon(schedctl, service) as running:
        assert schedctl("status", "--json").json["daemon"]["pid"] == running.pid
        schedctl("disable", "nightly", "--reason", "a holiday")
        marker = tmp_path / ".config.toml.state"
        marker.unlink()  # as git clean does it
        until(marker.exists)
        for other in ({}, {"STATE_DIRECTORY": str(tmp_path / "another")}):
            refused = schedctl("daemon", "--once", code=1, environment=other).err.splitlines()[-1]
            assert f"another schedctl daemon (process {running.pid}, user " in refused
            assert f"sqlite:///{tmp_path}/service/state.db" in refused
    shown = schedctl("show", "nightly", "--json").json["job"]
    assert (shown["state"], shown["disabled_reason"]) == ("disabled", "a holiday")
    link = tmp_path / "link.toml"
    link.symlink_to(schedctl.config)
    assert schedctl("list", "--json", "--config", "link.toml").json["jobs"][0]["state"] == "disabled"
    assert not schedctl.state.exists(), "nobody made a second state"
    refused = schedctl("daemon", code=5, environment={"STATE_DIRECTORY": str(tmp_path / "another")}).err
    assert f"is in {tmp_path}/service, but this unit's STATE_DIRECTORY is {tmp_path}/another" in refused
    assert not (tmp_path / "another").exists()
    assert (tmp_path / "service" / "state.db.lock").stat().st_mode & 0o777 == 0o600


def test_where_nothing_can_be_written_beside_the_config_a_daemon_that_runs_says_where_its_state_is(
    tmp_path: Path,
) -> None:
    schedctl = Command(tmp_path)
    (tmp_path / ".config.toml.state").mkdir()
    (tmp_path / ".config.toml.state" / "in the way").touch()
    with daemon(schedctl, {"STATE_DIRECTORY": str(tmp_path / "service")}) as running:
        assert schedctl("status", "--json").json["daemon"]["pid"] == running.pid
        log = (tmp_path / "daemon.log").read_text(encoding="utf-8")
        unmarked = [json.loads(line) for line in log.splitlines() if "state.unmarked" in line]
        assert f'write url = "sqlite:///{tmp_path}/service/state.db"' in unmarked[0]["message"]
    schedctl("disable", "nightly")  # by the word that the daemon left, as it was killed
    assert schedctl("daemon", "--once", environment={"STATE_DIRECTORY": str(tmp_path / "service")})
    assert schedctl("list", "--json").json["jobs"][0]["state"] == "disabled"
    assert not schedctl.state.exists()
    for word in location._hint_places(schedctl.config):
        word.unlink()


def test_commands_after_the_state_of_a_running_daemon_was_changed_in_the_file_do_not_work_on_another(
    tmp_path: Path,
) -> None:
    quick = QuickCommand(tmp_path)
    quick("list")
    with held_by_another_process(quick.config, f"sqlite:///{quick.state}/state.db") as pid:
        quick("disable", "nightly")
        told = quick("status", code=1).out
        assert f"holds the config file (process {pid}, user " in told
        assert "not running" not in told
        quick.write('[storage]\nurl = "sqlite:///new.db"\n' + CONFIG + NIGHTLY)
        for arguments in (["enable", "nightly"], ["run", "nightly"], ["cancel", "1"], ["status"], ["list"]):
            refused = quick.fails(*arguments, code=5, says=f"process {pid}")
            assert "restart that daemon" in refused.error["message"]
        assert not (tmp_path / "new.db").exists()


def test_a_state_that_is_gone_is_not_begun_anew_by_any_command(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    quick("add", "mine", "--source", "warehouse", "--query", "select 1 as a", "--to", "files")
    (quick.state / "state.db").rename(tmp_path / "elsewhere.db")
    for arguments in (["list"], ["status"], ["disable", "nightly"], ["run", "nightly"], ["db", "check"], ["runs"]):
        refused = quick.fails(*arguments, code=5, says=str(quick.state))
        assert f"remove {tmp_path}/.config.toml.state" in refused.error["message"]
    assert quick("daemon", "--once", code=5).err.count("is not there: bring it back") == 1
    assert "it is unknown whether" in quick("check").err
    assert not (quick.state / "state.db").exists()
    (tmp_path / ".config.toml.state").unlink()
    assert [job["name"] for job in quick("list", "--json").json["jobs"]] == ["nightly"]


def test_a_second_config_file_takes_nothing_from_the_first_whether_a_daemon_runs_or_not(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    quick("disable", "nightly")
    other = tmp_path / "other.toml"
    other.write_text(CONFIG + NIGHTLY.replace("nightly", "other"), encoding="utf-8")
    other.chmod(0o600)
    assert [job["name"] for job in quick("list", "--json", "--config", other).json["jobs"]] == ["other"]
    (job,) = quick("list", "--json").json["jobs"]
    assert (job["name"], job["state"]) == ("nightly", "disabled")
    shared = '[storage]\nurl = "sqlite:///shared.db"\n'
    quick.write(shared + CONFIG + NIGHTLY)
    quick("list")
    other.write_text(shared + CONFIG + NIGHTLY.replace("nightly", "other"), encoding="utf-8")
    refused = quick.fails("run", "other", "--config", other, code=5, says=f"is the state of {quick.config}")
    assert "two config files cannot share one" in refused.error["message"]
    for change in (["disable", "nightly"], ["enable", "nightly"], ["cancel", "1"], ["add", "x"]):
        quick.fails(*change, "--config", other, code=5, says="cannot share one")
    assert f"belongs to {quick.config}" in quick("status", "--config", other, code=1).err
    assert "daemon" not in quick("daemon", "--once", "--config", other, code=5).out
    assert [job["name"] for job in quick("list", "--json").json["jobs"]] == ["nightly"]
    quick.config.unlink()
    quick("list", "--config", other)


def test_a_draft_is_still_compared_with_what_the_config_file_has(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    quick("reload", "--confirm")
    draft = tmp_path / "draft.toml"
    draft.write_text((CONFIG + NIGHTLY).replace('"10m"', '"2h"'), encoding="utf-8")
    answer = quick("check", "--diff", "--json", "--config", draft)
    (change,) = answer.json["diff"]["jobs"]
    assert (change["job"], change["change"]) == ("nightly", "changed")


@needs_root
def test_a_daemon_of_another_user_is_told_with_the_way_to_its_state(everyones: Path) -> None:
    """The command itself runs as another user, once root has loaded all that it needs."""
    quick = QuickCommand(everyones)
    quick.config.chmod(0o644)
    quick("list")
    program = (
        "import sys\nfrom scheduler.cli.main import run\nrun(['status'])\nrun(['disable', 'nosuch'])\n"
        f"{BECOME_NOBODY}print('--', flush=True)\n"
        "for words in (['status'], ['disable', 'nightly'], ['list']):\n    print(run(words), flush=True)\n"
    )
    environment = {**quick.environment, "PYTHONDONTWRITEBYTECODE": "1"}
    with held_by_another_process(quick.config, f"sqlite:///{quick.state}/state.db") as pid:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            cwd=everyones,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.partition("--\n")[2].split() == ["5", "5", "5"]
    for line in done.stderr.splitlines()[-3:]:
        assert f"its daemon runs (process {pid}, user root)" in line
        assert "use sudo -u root schedctl" in line
        assert str(quick.state / "state.db") in line


@needs_root
def test_a_daemon_that_may_not_use_the_state_does_not_take_itself_for_the_one_that_runs(everyones: Path) -> None:
    quick = QuickCommand(everyones)
    quick.config.chmod(0o644)
    quick("reload", "--confirm")
    program = (
        "from scheduler.cli.main import run\nimport scheduler.daemon.daemon\nrun(['status'])\n"
        f"{BECOME_NOBODY}raise SystemExit(run(['daemon', '--once']))"
    )
    environment = {**quick.environment, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=everyones, capture_output=True, text=True, check=False
    )
    assert done.returncode == 5
    line = done.stderr.splitlines()[-1]
    assert "belongs to user root: use sudo -u root schedctl" in line


@needs_root
def test_the_lock_of_a_daemon_that_root_runs_on_a_users_state_stays_the_users(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    quick("reload", "--confirm")
    os.chown(quick.state / "state.db", 65_534, 65_534)
    told = [json.loads(line) for line in quick("daemon", "--once").err.splitlines()]
    (warned,) = [line["message"] for line in told if line["event"] == "state.others"]
    assert f"{quick.state}/state.db belongs to user nobody" in warned
    assert (quick.state / "state.db.lock").stat().st_uid == 65_534


@needs_root
def test_who_takes_the_place_of_the_daemon_keeps_it_out_and_is_named_but_gets_nothing(everyones: Path) -> None:
    quick = QuickCommand(everyones)
    with held_by_another_process(quick.config, "sqlite:////nowhere/state.db", as_nobody=True) as pid:
        told = quick("daemon", "--once", code=1).err
        assert f"process {pid}, user nobody" in told
        refused = quick.fails("disable", "nightly", code=5, says="which nobody but user nobody vouches for")
        assert f"process {pid}" in refused.error["message"]
    quick("disable", "nightly")
    assert not Path("/nowhere").exists()


def test_a_state_that_a_shell_has_begun_beside_a_services_does_not_count(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    service = {"STATE_DIRECTORY": str(tmp_path / "service")}
    quick("daemon", "--once", environment=service)
    (tmp_path / ".config.toml.state").unlink()
    quick("disable", "nightly")
    told = [json.loads(line) for line in quick("daemon", "--once", environment=service).err.splitlines()]
    (warned,) = [line["message"] for line in told if line["event"] == "state.displaced"]
    assert f"{quick.state}/state.db (0 runs), which no daemon has used" in warned
    assert quick("show", "nightly", "--json").json["job"]["state"] == "enabled"
    quick("run", "nightly", "--wait")
    assert len(quick("runs", "--json", environment=service).json["runs"]) == 1


def test_of_two_states_that_daemons_have_used_the_daemon_chooses_none_and_says_what_is_in_them(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    service = {"STATE_DIRECTORY": str(tmp_path / "service")}
    quick("daemon", "--once", environment=service)
    quick("run", "nightly", "--wait")
    (tmp_path / ".config.toml.state").unlink()
    quick("daemon", "--once")
    told = quick("daemon", "--once", code=5, environment=service).err
    assert f"{quick.state}/state.db (0 runs)" in told
    assert f"{tmp_path}/service/state.db (1 run, the last at 20" in told
    assert f"remove {tmp_path}/.config.toml.state" in told
    quick.state.rename(tmp_path / "away")
    (tmp_path / ".config.toml.state").unlink()
    quick("daemon", "--once", environment=service)
    assert len(quick("runs", "--json").json["runs"]) == 1


def test_a_state_directory_that_others_can_lock_is_warned_of(tmp_path: Path) -> None:
    schedctl = Command(tmp_path, f'[storage]\nurl = "sqlite:///{tmp_path}/open/state.db"\n' + CONFIG + NIGHTLY)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    told = [json.loads(line) for line in schedctl("daemon", "--once").err.splitlines()]
    (warned,) = [line["message"] for line in told if line["event"] == "state.exposed"]
    fix = f"chmod 700 {tmp_path}/open, or give the state a directory of its own"
    assert warned == f"other users can lock the state directory {tmp_path}/open: {fix}"
    assert os.stat(tmp_path / "open" / "state.db.lock").st_mode & 0o077 == 0  # noqa: PTH116 - its mode alone


@needs_root
def test_root_looks_at_a_users_state_but_executes_no_run_in_it(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    quick("reload", "--confirm")
    os.chown(quick.state / "state.db", 65_534, 65_534)
    quick("list")
    refused = quick.fails("run", "nightly", "--wait", code=1, says="belongs to user nobody, who cannot read")
    assert "sudo -u nobody schedctl" in refused.error["message"]
    assert not (quick.state / "spool").exists()
    assert quick("runs", "--json").json["runs"] == [], "what is refused is not asked for"


def test_the_lock_file_of_an_older_version_is_made_private(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    quick("reload", "--confirm")
    lock = quick.state / "state.db.lock"
    lock.touch(mode=0o644)
    lock.chmod(0o644)
    quick("daemon", "--once")
    assert lock.stat().st_mode & 0o777 == 0o600


def test_a_disable_that_begins_a_state_says_that_a_service_elsewhere_knows_nothing_of_it(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    told = quick("disable", "nightly").err
    assert f"this command began one in {quick.state}" in told
    assert "url under [storage]" in told
    assert "began" not in quick("disable", "nightly").err


@pytest.mark.parametrize("look", [["list"], ["show", "nightly"], ["runs"], ["status"], ["audit"], ["forecast"]])
def test_a_look_begins_no_state(tmp_path: Path, look: list[str]) -> None:
    quick = QuickCommand(tmp_path, CONFIG + NIGHTLY)
    answer = quick(*look, code=1 if look == ["status"] else 0)
    assert "Traceback" not in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml"]
    service = {"STATE_DIRECTORY": str(tmp_path / "service")}
    with daemon(quick, service):
        pass
    assert (tmp_path / "service" / "state.db").exists()
    assert "nightly" in quick("list").out
    assert not (tmp_path / "state").exists()


def test_a_config_file_that_lost_its_url_begins_no_second_state(tmp_path: Path) -> None:
    text = CONFIG + NIGHTLY + '[storage]\nurl = "sqlite:///state.db"\n'
    quick = QuickCommand(tmp_path, text)
    quick("disable", "nightly")
    for cut in ('url = "sqlite:///state.db"\n', '[storage]\nurl = "sqlite:///state.db"\n'):
        quick.write(text.removesuffix(cut))
        for command in (["list"], ["run", "nightly"], ["enable", "nightly"], ["status"], ["next", "nightly"]):
            quick.fails(*command, code=5, says='write url = "sqlite:///')
    quick.write(text)
    assert quick("show", "nightly", "--json").json["job"]["state"] == "disabled"

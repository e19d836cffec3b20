"""`schedctl install-units` as installed, and what systemd itself thinks of the units: `systemd-analyze`."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.commands.command import SCHEDCTL, Command, QuickCommand

from scheduler.operations import systemd_units
from scheduler.state import location

ANALYZE = shutil.which("systemd-analyze")
HIGHEST_EXPOSURE = 1.5
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed on this machine")


@pytest.fixture
def schedctl(tmp_path: Path) -> Command:
    return Command(tmp_path)


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    # A user's manager has a runtime directory, which a bare machine does not set.
    environment = {"XDG_RUNTIME_DIR": tempfile.gettempdir(), **os.environ}
    return subprocess.run(
        [ANALYZE, *arguments], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


@needs_systemd
@pytest.mark.parametrize("user", [False, True], ids=["system", "user"])
@pytest.mark.parametrize("folder", ["plain", 'odd $HOME 100% "it\'s"'])
def test_systemd_finds_nothing_wrong_with_the_unit(
    schedctl: Command, tmp_path: Path, *, user: bool, folder: str
) -> None:
    (tmp_path / folder).mkdir()
    flags = ["--user"] if user else []
    config = tmp_path / folder / "config.toml"
    shutil.copy(schedctl.config, config)
    schedctl("install-units", "--directory", tmp_path / "units", "--config", config, *flags)
    verified = analyze("verify", "--user" if user else "--system", tmp_path / "units" / "schedctl.service")
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@needs_systemd
def test_the_units_sandbox_leaves_little_exposed(schedctl: Command, tmp_path: Path) -> None:
    schedctl("install-units", "--directory", tmp_path)
    judged = analyze("security", "--offline=true", "--no-pager", tmp_path / "schedctl.service")
    found = re.search(r"Overall exposure level for schedctl.service: ([0-9.]+)", judged.stdout)
    assert found, judged
    assert float(found[1]) <= HIGHEST_EXPOSURE
    threshold = f"--threshold={int(HIGHEST_EXPOSURE * 10)}"
    assert analyze("security", "--offline=true", threshold, tmp_path / "schedctl.service").returncode == 0


def test_the_unit_runs_this_installation_on_the_config_that_is_meant(schedctl: Command, tmp_path: Path) -> None:
    answer = schedctl("install-units", "--directory", tmp_path, "--json").json
    assert answer["path"] == str(tmp_path / "schedctl.service")
    assert (answer["written"], answer["user"], answer["command"]) == (True, False, str(SCHEDCTL))
    assert answer["config"] == str(schedctl.config)
    text = (tmp_path / "schedctl.service").read_text(encoding="utf-8")
    assert text == answer["text"]
    assert f"\nExecStart={SCHEDCTL} daemon --config {schedctl.config}\n" in text
    assert answer["steps"][0] == "sudo systemctl daemon-reload"
    assert schedctl("install-units", "--directory", tmp_path, "--json").json["written"] is False


def test_a_dry_run_prints_the_unit_and_writes_nothing(schedctl: Command, tmp_path: Path) -> None:
    answer = schedctl("install-units", "--dry-run", "--directory", tmp_path / "units")
    assert answer.out.startswith("# Runs the schedctl daemon.")
    assert not (tmp_path / "units").exists()
    assert schedctl("install-units", "--dry-run", "--json").json["path"] == "/etc/systemd/system/schedctl.service"


def test_a_users_unit_lies_in_the_users_config_and_reads_the_users_config_file(schedctl: Command) -> None:
    del schedctl.environment["SCHEDCTL_CONFIG"]
    answer = schedctl("install-units", "--user")
    path = schedctl.directory / ".config" / "systemd" / "user" / "schedctl.service"
    assert answer.out == f"{path}: written\n"
    config = schedctl.directory / ".config" / "schedctl" / "config.toml"
    assert f"ExecStart={SCHEDCTL} daemon --config {config}\n" in path.read_text(encoding="utf-8")
    assert f"schedctl: warning: there is no config file {config} yet" in answer.err
    assert "systemctl --user restart schedctl" in answer.err


def test_the_systems_unit_never_reads_a_users_config_file_unasked(schedctl: Command) -> None:
    del schedctl.environment["SCHEDCTL_CONFIG"]
    own = schedctl.directory / ".config" / "schedctl" / "config.toml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert schedctl("install-units", "--dry-run", "--json").json["config"] == "/etc/schedctl/config.toml"


def test_a_unit_that_somebody_changed_is_kept_unless_forced(schedctl: Command, tmp_path: Path) -> None:
    path = tmp_path / "schedctl.service"
    path.write_text("[Service]\n", encoding="utf-8")
    schedctl.fails("install-units", "--directory", tmp_path, code=1, says="is there and differs")
    assert path.read_text(encoding="utf-8") == "[Service]\n"
    schedctl("install-units", "--directory", tmp_path, "--force")
    assert "ExecStart" in path.read_text(encoding="utf-8")


def test_the_unit_of_a_file_elsewhere_leaves_word_where_its_state_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = QuickCommand(tmp_path)
    monkeypatch.setattr(systemd_units, "SYSTEM_STATE", tmp_path / "var")
    monkeypatch.setattr(location, "SYSTEM_STATE", tmp_path / "var")
    quick("install-units", "--directory", tmp_path / "units")
    assert json.loads((tmp_path / ".config.toml.state").read_text(encoding="utf-8"))["state"] == str(tmp_path / "var")
    quick("reload", "--confirm")
    assert (tmp_path / "var" / "state.db").exists()


def test_a_state_that_the_unit_would_leave_behind_is_warned_of(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    quick("reload", "--confirm")
    told = quick("install-units", "--directory", tmp_path / "units", "--json").json["warnings"]
    assert any(f"is in {quick.state} so far, and the unit's is /var/lib/schedctl" in each for each in told)

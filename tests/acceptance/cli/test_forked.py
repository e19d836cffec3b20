"""The forked command line of the tests says what a fresh process says."""

import subprocess
from pathlib import Path

import pytest
from support.commands import forked
from support.commands.command import SCHEDCTL, Command

COMMANDS = [
    ["list", "--json"],
    ["explain", "0 3 * * mon-fri", "--json"],
    ["next", "nightly", "-n", "3", "--from", "2026-03-07T00:00:00Z"],
    ["check"],
    ["--version"],
    ["show", "none"],
    ["add", "one", "--no-such-flag"],
    ["import", "td", "-"],
    ["show", "\udcff"],
    [],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_forked_command_says_what_a_fresh_one_says(tmp_path: Path, arguments: list[str]) -> None:
    command, stdin = Command(tmp_path), "no list\n"
    told = [command.run(arguments, command.environment | {"TZ": "Asia/Tokyo"}, stdin) for _ in range(2)]
    command.afresh = True
    told.append(command.run(arguments, command.environment | {"TZ": "Asia/Tokyo"}, stdin))
    assert told[0] == told[1] == told[2]


def test_a_child_starts_with_its_own_files_environment_and_directory_alone(tmp_path: Path) -> None:
    command = Command(tmp_path)
    command.environment["SCHEDCTL_CONFIG"] = "config.toml"  # found in the directory
    first = command("list", "--json").json
    assert [job["name"] for job in first["jobs"]] == ["nightly"]
    assert command("list", "--json").json == first


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    command = Command(tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run(SCHEDCTL, ["daemon"], environment=command.environment, directory=tmp_path, stdin=None, timeout=1)


@pytest.mark.parametrize("name", ["LC_ALL", "PYTHONUTF8", "LANG"])
def test_what_is_read_at_the_start_of_a_process_needs_a_fresh_one(name: str) -> None:
    assert forked.can_run({"TZ": "UTC"})
    assert not forked.can_run({name: "C"})

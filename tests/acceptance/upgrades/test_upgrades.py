"""What each released version left behind goes on: its config, its state, and a run that waits to be sent."""

import shutil
from pathlib import Path

import pytest
from support.commands.command import Command
from support.runs.whole_runs import SECRET

from exporter.emulator.server import Emulator

HERE = Path(__file__).parent
ADDRESS = "http://127.0.0.1:1"
VERSIONS = sorted(path.name for path in HERE.iterdir() if (path / "state.db").is_file())


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_left_behind_goes_on(version: str, tmp_path: Path) -> None:
    left = tmp_path / "left"
    shutil.copytree(HERE / version, left)
    with Emulator(client_secret=SECRET) as emulator:
        config = (left / "config.toml").read_text(encoding="utf-8")
        schedctl = Command(left, config.replace(ADDRESS, emulator.url))
        before = schedctl("runs", "--json").json["runs"]
        assert [(run["id"], run["state"], run["outcome"]) for run in before] == [
            (3, "waiting", None),
            (2, "finished", "partial"),
            (1, "finished", "succeeded"),
        ]
        assert [row["code"] for row in schedctl("rejected", "2", "--json").json["rows"]] == ["REQUIRED_FIELD_MISSING"]
        schedctl("daemon", "--once")
        after = schedctl("runs", "show", "3", "--json").json["run"]
        assert (after["outcome"], after["rows"]["accepted"]) == ("succeeded", 5), after
        assert sorted(record["LastName"] for record in emulator.org.records("Contact")) == [
            f"third {number}" for number in range(5)
        ]
    assert schedctl("db", "check").code == 0
    assert schedctl("audit").code == 0


def test_there_is_a_version() -> None:
    assert VERSIONS

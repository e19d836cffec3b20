"""docs/library.md: its examples run, say what they should, and are typed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.emulator.server import Emulator

ROOT = Path(__file__).parents[2]
MOVE, READ = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "library.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)
EMULATOR = "http://127.0.0.1:8080"


def test_the_export_sends_each_row_and_says_which_was_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert EMULATOR in MOVE
    with Emulator() as emulator:
        exec(compile(MOVE.replace(EMULATOR, emulator.url), "library.md", "exec"), {})  # noqa: S102 - our own page
        assert [record["LastName"] for record in emulator.org.records("Contact")] == ["Curie"]
    told = capsys.readouterr().out.splitlines()
    assert any(line.startswith("BatchSettled(") for line in told)
    assert told[-2] == "2 1 1"
    assert told[-1].startswith("2 REQUIRED_FIELD_MISSING ")


def test_the_schedule_says_when_it_fires(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(READ, "library.md", "exec"), {})  # noqa: S102 - our own page
    assert capsys.readouterr().out.splitlines() == [
        "at 03:00 from Monday to Friday",
        "2026-11-02 08:00:00+00:00 2026-11-02 08:10:00+00:00",
        "21",
    ]


def test_the_examples_are_typed(tmp_path: Path) -> None:
    for name, block in (("move.py", MOVE), ("read.py", READ)):
        (tmp_path / name).write_text(block, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(tmp_path)]
    environment = {"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT)}
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("package", ["exporter", "scheduler.schedules"])
def test_every_name_of_the_face_is_there_and_costs_nothing_before_it_is_used(package: str) -> None:
    code = (
        f"import sys, {package} as face\n"
        "heavy = {'pyarrow', 'pydantic', 'duckdb', 'requests', 'sqlalchemy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "assert all(getattr(face, name).__name__ for name in face.__all__ if name != 'Event')\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr

"""The import rules of the architecture hold, and their check notices when they do not."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = 15
"""In one folder, at most."""
LINT = Path(sys.executable).with_name("lint-imports")


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(directory)}
    command = [str(LINT), "--no-cache"]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for package in ("scheduler", "exporter", "storage"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.csv"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_rules_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


APART = "the application is above the data mover and the state"
PURE = "deciding does no I/O"
UPWARDS = "no rooms, and no modules of a room, import each other in a circle"


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("exporter/report.py", "import storage.jobs.jobs", APART),
        ("exporter/report.py", "import scheduler.schedules.expression", APART),
        ("storage/jobs/jobs.py", "import exporter.report", APART),
        ("storage/jobs/jobs.py", "import scheduler.schedules.expression", APART),
        ("scheduler/schedules/expression.py", "import storage.jobs.jobs", PURE),
        ("exporter/rows/casts.py", "import requests", PURE),
        ("scheduler/runs/deletions.py", "import scheduler.daemon.daemon", "the rooms of the scheduler"),
        ("exporter/sources/trino/errors.py", "import exporter.sources.mysql.errors", "a room for each source"),
        ("scheduler/schedules/days.py", "import scheduler.schedules.schedule", UPWARDS),
    ],
)
def test_a_broken_rule_is_noticed(copied: Path, module: str, line: str, contract: str) -> None:
    path = copied / module
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}\n{line}  # a rule broken on purpose\n", encoding="utf-8")
    result = lint(copied)
    assert result.returncode == 1
    assert f"{contract} BROKEN" in result.stdout


@pytest.mark.parametrize(
    ("module", "contract"),
    [
        ("scheduler/helpers.py", "the rooms of the scheduler"),
        ("scheduler/cli/helpers.py", "the rooms of the command line"),
        ("exporter/helpers.py", "the rooms of the exporter"),
        ("exporter/sources/oracle/__init__.py", "a room for each source"),
        ("exporter/targets/salesforce/helpers.py", "the rooms of the Salesforce target"),
        ("storage/helpers.py", "the rooms of the storage"),
    ],
)
def test_a_module_without_a_room_is_noticed(copied: Path, module: str, contract: str) -> None:
    path = copied / module
    path.parent.mkdir(exist_ok=True)
    path.write_text('"""Has no place in the house."""\n', encoding="utf-8")
    result = lint(copied)
    assert result.returncode == 1
    assert contract in result.stdout
    assert module.removesuffix("/__init__.py").removesuffix(".py").rpartition("/")[2] in result.stdout


@pytest.mark.parametrize("top", ["scheduler", "exporter", "storage", "tests"])
def test_no_room_holds_more_modules_than_one_sees_at_once(top: str) -> None:
    rooms = [path for path in (ROOT / top).rglob("*") if path.is_dir() and path.name != "__pycache__"]
    counts = {str(room.relative_to(ROOT)): len(list(room.glob("[!_]*.py"))) for room in (ROOT / top, *rooms)}
    assert {room: count for room, count in counts.items() if count > MODULES} == {}


@pytest.mark.parametrize("top", ["scheduler", "exporter", "storage"])
def test_a_module_does_not_pay_for_the_others_of_its_room(top: str) -> None:
    """What ``__init__`` imports is loaded with each module of the room, for quick commands too."""
    costly = [
        f"{path.relative_to(ROOT)}: {ast.unparse(statement)}"
        for path in (ROOT / top).rglob("__init__.py")
        for statement in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.Import | ast.ImportFrom)
        and ast.unparse(statement) not in ("from importlib import import_module", "from typing import TYPE_CHECKING")
    ]
    assert costly == []

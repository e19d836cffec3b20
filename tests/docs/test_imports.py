"""The import rules of the architecture hold, and their check notices when they do not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("exporter/report.py", "import storage.jobs", "the exporter imports neither the storage nor the scheduler"),
        ("exporter/report.py", "import scheduler.cron", "the exporter imports neither the storage nor the scheduler"),
        ("storage/jobs.py", "import exporter.report", "storage imports neither the exporter nor the scheduler"),
        ("storage/jobs.py", "import scheduler.cron", "storage imports neither the exporter nor the scheduler"),
        ("scheduler/cron.py", "import storage.jobs", "pure modules of the scheduler do no I/O"),
        ("exporter/casts.py", "import requests", "pure modules of the exporter do no I/O"),
    ],
)
def test_a_broken_rule_is_noticed(copied: Path, module: str, line: str, contract: str) -> None:
    path = copied / module
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}\n{line}  # a rule broken on purpose\n", encoding="utf-8")
    result = lint(copied)
    assert result.returncode == 1
    assert f"{contract} BROKEN" in result.stdout

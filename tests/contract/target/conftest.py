"""One of each target, and what has arrived there: what every target owes whoever exports to it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exporter.settings.file import FileConnection, FileExport
from exporter.targets.registry import open_target
from exporter.targets.target import Target


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A target for rows of ``name`` (text) and ``score`` (a float), opened anew by each call of ``open``.

    ``arrived`` gives the (name, score) that are there now. ``unusable`` is a target whose check fails.
    """

    open: Callable[[], Target]
    arrived: Callable[[], list[tuple[str, float | None]]]
    unusable: Target


def _file(directory: Path) -> Sample:
    out = directory / "out"
    (directory / "blocked").write_text("a file where a directory should be")

    def opened(where: Path) -> Target:
        return open_target(FileConnection(type="file", directory=str(where)), FileExport(file="{job}.jsonl"))

    def arrived() -> list[tuple[str, float | None]]:
        rows: list[dict[str, Any]] = [
            json.loads(line) for file in out.glob("*.jsonl") for line in file.read_text(encoding="utf-8").splitlines()
        ]
        return [(row["name"], row["score"]) for row in rows]

    return Sample(open=lambda: opened(out), arrived=arrived, unusable=opened(directory / "blocked" / "out"))


MAKERS: dict[str, Callable[[Path], Sample]] = {"file": _file}


@pytest.fixture(params=sorted(MAKERS))
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Sample:
    return MAKERS[request.param](tmp_path)

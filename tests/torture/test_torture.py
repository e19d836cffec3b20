"""Daemons in a storm of faults lose nothing, double nothing and leave nothing behind. The figures come with ``-s``."""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands.command import Command
from support.databases import postgres
from support.loopback.receivers import WebHook, web_hook
from torture.storm import SCHEMA, Storm

from exporter.emulator.server import Emulator

SEED = int(os.environ.get("SCHEDCTL_SEED") or random.randrange(10**6))
SHORT = int(os.environ.get("SCHEDCTL_SEED", "20261124"))
"""The seed of the short forms: what they do is the same each time, if not when."""
MINUTES = float(os.environ.get("SCHEDCTL_MINUTES", "10"))
FAULTS = int(os.environ.get("SCHEDCTL_FAULTS", "200"))


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Emulator]:
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        yield org


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with web_hook() as hook:
        yield hook


def rage(storm: Storm, *, faults: int, seconds: float) -> None:
    sys.stderr.write(f"\nseed {storm.figures.seed}\n")
    try:
        storm.rage(faults=faults, seconds=seconds)
        storm.check()
    finally:
        storm.end()
        sys.stderr.write(f"{storm.figures}\n")


@pytest.mark.xdist_group("torture")
@pytest.mark.timeout(600)
def test_a_short_storm_on_sqlite(tmp_path: Path, org: Emulator, hook: WebHook) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    rage(Storm(Command(tmp_path), org, hook, url=url, server=None, daemons=1, seed=SHORT), faults=15, seconds=20)


@pytest.mark.xdist_group("torture")
@pytest.mark.timeout(600)
def test_a_short_storm_on_postgresql(tmp_path: Path, org: Emulator, hook: WebHook, postgresql_url: str) -> None:
    """Without restarts of the server, which other tests use at the same time."""
    storm = Storm(Command(tmp_path), org, hook, url=postgresql_url, server=None, daemons=2, seed=SHORT)
    storm.figures.storage = "PostgreSQL"
    rage(storm, faults=15, seconds=20)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_long_storm_on_sqlite(tmp_path: Path, org: Emulator, hook: WebHook) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    storm = Storm(Command(tmp_path), org, hook, url=url, server=None, daemons=1, seed=SEED)
    rage(storm, faults=FAULTS, seconds=MINUTES * 60)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("daemons", [1, 3])
def test_a_long_storm_on_postgresql(tmp_path: Path, org: Emulator, hook: WebHook, daemons: int) -> None:
    """With a server of its own, which is restarted under the daemons."""
    server = postgres.start()
    try:
        url = postgres.url(server, "postgres")
        storm = Storm(Command(tmp_path), org, hook, url=url, server=server, daemons=daemons, seed=SEED)
        rage(storm, faults=FAULTS, seconds=MINUTES * 60)
    finally:
        postgres.stop(server)

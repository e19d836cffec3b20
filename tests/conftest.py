"""Fixtures for more than one folder: one PostgreSQL server for the whole session, one empty database for each test."""

import fcntl
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import properties
from support.databases import postgres

properties.register()

_NOTE = "postgresql.directory"
_numbers = itertools.count(1)


def _shared(factory: pytest.TempPathFactory) -> Path:
    """Return the directory that all of pytest-xdist's workers share: the one that theirs are in."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> Iterator[None]:
    """Forget the secrets that a test made known: the next one in this process would find its own words masked."""
    name = "scheduler.secrets.resolve"
    before = sys.modules[name]._registered if name in sys.modules else {}
    yield
    if name in sys.modules:
        sys.modules[name]._registered = before


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Start the server, unless another worker has; without any server to start, skip, and in CI fail."""
    shared = _shared(tmp_path_factory)
    with (shared / "postgresql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        note = shared / _NOTE
        if not note.exists():
            try:
                note.write_text(str(postgres.start()))
            except postgres.NoPostgresqlError as error:
                if os.environ.get("CI") == "true":
                    pytest.fail(str(error))
                pytest.skip(str(error))
        return Path(note.read_text())


@pytest.fixture
def postgresql_url(postgresql_server: Path) -> Iterator[str]:
    """Make an empty database and return its URL; it is dropped after the test, whoever still uses it."""
    psycopg = pytest.importorskip("psycopg")
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(f"host={postgresql_server} user=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres.url(postgresql_server, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


_TOLD = {"cells": "exports that were killed or disturbed", "source contract": "source contract"}
"""What tests record to be told at the end, and under which title."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded, also those of other workers: each line once."""
    found = [report for kind in terminalreporter.stats.values() for report in kind]
    reports = [report for report in found if hasattr(report, "user_properties")]  # one that failed to collect has none
    for name, title in _TOLD.items():
        told = {str(value) for report in reports for key, value in report.user_properties if key == name}
        if told:
            terminalreporter.section(title)
            for line in sorted(told):
                terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the server when every worker is done."""
    if hasattr(session.config, "workerinput"):
        return
    note = session.config._tmp_path_factory.getbasetemp() / _NOTE  # type: ignore[attr-defined] # pytest has no other way
    if note.exists():
        postgres.stop(Path(note.read_text()))
        note.unlink()

"""Every test here runs on SQLite and on PostgreSQL, on a database of its own."""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.databases import postgres

from storage.database import Database, open_database

_numbers = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Say which of the two databases the test runs on."""
    return str(request.param)


@pytest.fixture
def empty_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database without any table; SQLite's file is not even there."""
    if kind == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path / 'state.db'}"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a file at the current schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "state.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: Path) -> str:
    """Make a database at the current schema, to be copied; it goes with the server."""
    name = f"template_{os.getpid()}"
    with psycopg.connect(f"host={postgresql_server} user=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    open_database(postgres.url(postgresql_server, name)).close()
    return name


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty database at the current schema."""
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "state.db")
        yield f"sqlite:///{tmp_path / 'state.db'}"
        return
    template, server = request.getfixturevalue("postgresql_template"), request.getfixturevalue("postgresql_server")
    name = f"copy_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(f"host={server} user=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        yield postgres.url(server, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Give an open, empty database."""
    database = open_database(url)
    yield database
    database.close()

"""A run's `timeout` ends its query where it runs: in the database server, not only here."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import psutil
import pytest
from support.commands.command import Command
from support.databases.sail import sail_server

CONFIG = """
[connections.there]
{connection}
[connections.files]
type = "file"
directory = "out"
[jobs.endless]
source = "there"
timeout = "{timeout}"
retry_limit = 0
query = "{query}"
[jobs.endless.export]
connection = "files"
[jobs.short]
source = "there"
query = "select 1 as x"
export = {{ connection = "files", file = "short.csv" }}
"""
JOIN = "select count(*) as n from numbers a, numbers b, numbers c where a.n + b.n = c.n + 0.5"


def timed_out(directory: Path, connection: str, query: str, *, timeout: str = "2s") -> Command:
    """Run an endless query until its time is over; the connection is good for another at once."""
    command = Command(directory, CONFIG.format(connection=connection, query=query, timeout=timeout))
    run = command("run", "endless", "--wait", "--json", code=1).json["runs"][0]
    assert (run["outcome"], run["failure"]["kind"], run["failure"]["code"]) == ("failed", "transient", "TIMEOUT")
    command("run", "short", "--wait")
    return command


def until(holds: Callable[[], object]) -> None:
    limit = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_postgresql_runs_the_query_no_longer(tmp_path: Path, postgresql_url: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    url = postgresql_url.replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(url, autocommit=True) as connection:
        seen = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        connection.execute("create table numbers as select generate_series(1, 100000) as n")
        timed_out(tmp_path, f'type = "postgresql"\nurl = "{url}"', JOIN)
        until(lambda: connection.execute(seen).fetchone() == (0,))


@pytest.mark.slow  # Sail 0.7 now and then runs on what was canceled; test_adbc.py has the cancel that it notices
def test_sail_runs_the_query_no_longer(tmp_path: Path) -> None:
    (tmp_path / "sail").mkdir()
    with sail_server(tmp_path / "sail") as server:
        endless = "select count(*) as n from range(100000000) a, range(100000000) b where sqrt(a.id + b.id) = 0.5"
        # Long enough that the query has begun there: Sail runs on what is canceled while it plans it.
        timed_out(tmp_path, f'type = "adbc"\ndriver = "flightsql"\nuri = "{server.uri}"', endless, timeout="10s")
        process = psutil.Process(server.pid)
        until(lambda: process.cpu_percent(0.3) < 30)


def test_the_file_of_duckdb_is_free_again(tmp_path: Path) -> None:
    path = tmp_path / "some.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table numbers as select n from range(100000) t(n)")
    timed_out(tmp_path, f'type = "duckdb"\npath = "{path}"', JOIN)
    with duckdb.connect(str(path)) as connection:
        connection.execute("drop table numbers")


def test_the_file_of_sqlite_is_free_again(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table numbers (n integer)")
        connection.executemany("insert into numbers values (?)", ((n,) for n in range(100_000)))
    timed_out(tmp_path, f'type = "sqlite"\npath = "{path}"', JOIN)
    with closing(sqlite3.connect(path, timeout=1)) as connection, connection:
        connection.execute("drop table numbers")

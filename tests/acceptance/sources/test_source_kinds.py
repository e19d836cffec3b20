"""Jobs on MySQL, Trino and SQLAlchemy under the installed command: slot and parameters bound, a stuck query stopped."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.commands.command import Command
from support.databases import mariadb
from support.databases.trino_server import trino_server

CONFIG = '''
[connections.source]
{connection}
[connections.files]
type = "file"
directory = "out"
[jobs.rows]
source = "source"
query = """select n, ':region 100%' as t, :region as r, TD_SCHEDULED_TIME() as u from numbers
where {at} < :scheduled_time"""
params = {{ region = "it's -- \\\\ %s :n" }}
[jobs.rows.export]
connection = "files"
file = "rows.jsonl"
[jobs.stuck]
timeout = "1s"
retry_limit = 0
source = "source"
query = "{endless}"
export = {{ connection = "files", file = "stuck.csv" }}
'''
ENDLESS = "select a.n from numbers a, numbers b, numbers c, numbers d where a.n + b.n + c.n + d.n = 0.5"


@dataclass(kw_only=True)
class Site:
    """Where rows come from: a connection's lines, and SQL in its dialect."""

    connection: str
    at: str
    environment: dict[str, str] = field(default_factory=dict)


@contextmanager
def on_sqlite(directory: Path) -> Iterator[Site]:
    with closing(sqlite3.connect(directory / "numbers.db")) as connection, connection:
        connection.execute("create table numbers (n integer)")
        connection.executemany("insert into numbers values (?)", ((n,) for n in range(500)))
    yield Site(connection='type = "sqlalchemy"\nurl = "sqlite:///numbers.db"', at="'2026-01-01 00:00:00'")


@contextmanager
def on_trino(_: Path) -> Iterator[Site]:
    with trino_server(login=True) as server:
        server.engine.execute("create table numbers as select n from range(500) t(n)")
        lines = f'type = "trino"\nhost = "127.0.0.1"\nport = {server.port}\nhttp_scheme = "http"\nuser = "reader"'
        secret = '\npassword = { env = "LAKE_PASSWORD" }'
        yield Site(
            connection=lines + secret, at="TIMESTAMP '2026-01-01 00:00:00 UTC'", environment={"LAKE_PASSWORD": "s3cret"}
        )
        assert server.running() == []


@contextmanager
def on_mysql(_: Path) -> Iterator[Site]:
    try:
        server = mariadb.start()
    except mariadb.NoMariadbError as error:
        pytest.skip(str(error))
    try:
        with closing(server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("create database shop")
            cursor.execute("use shop")
            cursor.execute("create table numbers as select cast(seq as int) as n from seq_0_to_499")
        lines = f'type = "mysql"\nhost = "{server.socket}"\nuser = "root"\ndatabase = "shop"'
        yield Site(connection=lines, at="timestamp '2026-01-01 00:00:00'")
        with closing(server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("select count(*) from information_schema.processlist where info like '%numbers b%'")
            assert cursor.fetchone() == (1,)  # this very question
    finally:
        server.stop()


PLACES: dict[str, Callable[[Path], object]] = {"sqlalchemy": on_sqlite, "trino": on_trino, "mysql": on_mysql}


@pytest.fixture(params=["sqlalchemy", "trino", pytest.param("mysql", marks=pytest.mark.slow)])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Command]:
    with PLACES[request.param](tmp_path) as site:  # type: ignore[attr-defined]
        command = Command(tmp_path, CONFIG.format(connection=site.connection, at=site.at, endless=ENDLESS))
        command.environment |= site.environment
        yield command


def test_a_job_binds_its_slot_and_its_parameters(command: Command) -> None:
    answer = command("run", "rows", "--at", "2026-11-23T03:00:00Z", "--wait", "--json").json["runs"][0]
    assert (answer["outcome"], answer["rows"]["accepted"]) == ("succeeded", 500), answer
    rows = [json.loads(line) for line in (command.directory / "out" / "rows.jsonl").read_text().splitlines()]
    assert sorted(int(row["n"]) for row in rows) == list(range(500))
    assert {(row["t"], row["r"], int(row["u"])) for row in rows} == {(":region 100%", "it's -- \\ %s :n", 1795402800)}
    assert command("connections", "test", "source").code == 0


def test_a_query_that_takes_too_long_is_stopped_over_there(command: Command) -> None:
    answer = command.run(["run", "stuck", "--wait", "--json"], command.environment, None)
    failure = answer.json["runs"][0]["failure"]
    assert (answer.code, failure["kind"], failure["code"]) == (1, "transient", "TIMEOUT"), failure

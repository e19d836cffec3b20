"""One of each source, over the same little table: what every source owes whoever reads it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from pydantic import SecretStr
from support.td_server import DATABASE, KEY, TdServer, td_server

from exporter.connections import DuckdbConnection, PostgresqlConnection, SqliteConnection, TreasureDataConnection
from exporter.sources import Source
from exporter.sources.opening import open_source

NUMBERS = 30_000


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A source with a table ``numbers`` (n from 0 to 29999, ``name`` = 'n' || n), and SQL in its own dialect."""

    source: Source
    broken: Source
    ordered: str
    by_parameter: str
    endless: str
    late_failure: str


def _duckdb(directory: Path) -> Sample:
    path = directory / "sample.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create table numbers as select n, 'n' || n as name from range({NUMBERS}) t(n)")  # noqa: S608 - our own number
    return Sample(
        source=open_source(DuckdbConnection(type="duckdb", path=str(path))),
        broken=open_source(DuckdbConnection(type="duckdb", path=str(directory / "missing.duckdb"))),
        ordered="select n, name from numbers order by n",
        by_parameter="select name from numbers where n = $wanted",
        endless="select n.n from numbers n, numbers m, numbers o where sqrt(n.n + m.n) = o.n + 0.5",
        late_failure="select cast(case when n = 29000 then 'no number' else '1' end as integer) as i from numbers",
    )


def _sqlite(directory: Path) -> Sample:
    path = directory / "sample.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table numbers (n integer, name text)")
        connection.executemany("insert into numbers values (?, ?)", ((n, f"n{n}") for n in range(NUMBERS)))
    return Sample(
        source=open_source(SqliteConnection(type="sqlite", path=str(path))),
        broken=open_source(SqliteConnection(type="sqlite", path=str(directory / "missing.db"))),
        ordered="select n, name from numbers order by n",
        by_parameter="select name from numbers where n = json_extract($wanted, '$')",
        endless="select n.n from numbers n, numbers m, numbers o where n.n + m.n = o.n + 0.5",
        late_failure="select case when n = 29000 then abs(-9223372036854775807 - 1) else n end as i from numbers",
    )


def _postgresql(url: str) -> Sample:
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(url) as connection:
        connection.execute(
            f"create table numbers as select n, 'n' || n as name from generate_series(0, {NUMBERS - 1}) t(n)"  # noqa: S608 - our own number
        )
    return Sample(
        source=open_source(PostgresqlConnection(type="postgresql", url=SecretStr(url))),
        broken=open_source(PostgresqlConnection(type="postgresql", url=SecretStr(url.replace("test_", "gone_")))),
        ordered="select n, name from numbers order by n",
        by_parameter="select name from numbers where n = $wanted",
        endless="select n.n from numbers n, numbers m, numbers o where sqrt(n.n + m.n) = o.n + 0.5",
        late_failure="select cast(case when n = 29000 then 'no number' else '1' end as integer) as i from numbers",
    )


def _treasure_data(server: TdServer) -> Sample:
    server.engine.execute(f"create table numbers as select n, 'n' || n as name from range({NUMBERS}) t(n)")  # noqa: S608 - our own number
    return Sample(
        source=open_source(td_connection(server)),
        broken=open_source(td_connection(server, api_key="1/wrong")),
        ordered="select n, name from numbers order by n",
        by_parameter="select name from numbers where n = $wanted",
        endless="select n.n from numbers n, numbers m, numbers o where sqrt(n.n + m.n) = o.n + 0.5",
        late_failure="select cast(case when n = 29000 then 'no number' else '1' end as integer) as i from numbers",
    )


def td_connection(server: TdServer, *, api_key: str = KEY, **others: object) -> TreasureDataConnection:
    """Return a connection to that server, which does not wait between its tries."""
    settings = {"endpoint": server.url, "database": DATABASE, "initial_retry_delay": 0, **others}
    return TreasureDataConnection.model_validate({"type": "treasure_data", "api_key": SecretStr(api_key), **settings})


MAKERS: dict[str, Callable[[Path], Sample]] = {"duckdb": _duckdb, "sqlite": _sqlite}


@pytest.fixture
def treasure_data() -> Iterator[TdServer]:
    with td_server() as server:
        yield server


@pytest.fixture(params=[*sorted(MAKERS), "postgresql", "treasure_data"])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Sample:
    if request.param == "treasure_data":
        return _treasure_data(request.getfixturevalue("treasure_data"))
    if request.param == "postgresql":
        return _postgresql(plain_url(request.getfixturevalue("postgresql_url")))
    return MAKERS[request.param](tmp_path)


def plain_url(url: str) -> str:
    """Return the URL as PostgreSQL's own tools take it, without SQLAlchemy's driver."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)

"""One of each source, over the same little table: what every source owes whoever reads it."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pytest
from pydantic import SecretStr
from support.sail import NoSailError, Sail, execute, sail_server
from support.spark import NoSparkError, spark_server
from support.td_server import DATABASE, KEY, TdServer, td_server

from exporter.adbc_settings import AdbcConnection
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


def _adbc_duckdb(directory: Path) -> Sample:
    """DuckDB behind its own ADBC driver, which binds parameters and cancels on request."""
    return replace(
        _duckdb(directory),
        source=adbc_source("duckdb", path=str(directory / "sample.duckdb"), access_mode="READ_ONLY"),
        broken=adbc_source("duckdb", path=str(directory / "missing.duckdb"), access_mode="READ_ONLY"),
    )


def _adbc_sail(server: Sail) -> Sample:
    """Sail behind Flight SQL, which binds no parameters: they are written as literals."""
    return _of_spark_dialect("flightsql", server.uri, server.uri.replace("grpc:", "grpc+tls:"))


def _of_spark_dialect(driver: str, uri: str, broken: str) -> Sample:
    return Sample(
        source=adbc_source(driver, uri=uri),
        broken=adbc_source(driver, uri=broken),
        ordered="select n, name from numbers order by n",
        by_parameter="select name from numbers where n = $wanted",
        endless="select a.id from range(100000000) a, range(100000000) b where sqrt(a.id + b.id) = 0.5",
        late_failure="select cast(case when n = 29000 then 'no number' else '1' end as integer) as i from numbers",
    )


def adbc_source(driver: str, *, uri: str | None = None, directory: Path | None = None, **options: object) -> Source:
    """Return a source over a driver with its options."""
    settings = {"driver": driver, "options": options} | ({} if uri is None else {"uri": uri})
    return open_source(AdbcConnection.model_validate({"type": "adbc", **settings}), directory=directory)


MAKERS: dict[str, Callable[[Path], Sample]] = {"duckdb": _duckdb, "sqlite": _sqlite}
MAKERS["adbc-duckdb"] = _adbc_duckdb
SAIL = pytest.param("adbc-sail", marks=pytest.mark.xdist_group("sail"))  # one server for one of the workers
SPARK = pytest.param("adbc-spark", marks=[pytest.mark.xdist_group("spark"), pytest.mark.slow])


@pytest.fixture
def treasure_data() -> Iterator[TdServer]:
    with td_server() as server:
        yield server


@pytest.fixture(scope="session")
def sail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sail]:
    """Start a server with the table ``numbers``; without pysail, skip, and in CI fail."""
    try:
        with sail_server(tmp_path_factory.mktemp("sail")) as server:
            server.execute(f"create table numbers as select id as n, concat('n', id) as name from range({NUMBERS})")  # noqa: S608 - our own number
            yield server
    except NoSailError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Spark with the table ``numbers`` and give its address; without Spark or Java, skip."""
    try:
        with spark_server(tmp_path_factory.mktemp("spark")) as uri:
            sql = f"create table numbers using parquet as select id as n, concat('n', id) as name from range({NUMBERS})"  # noqa: S608 - our own number
            execute("adbc_driver_spark", uri, sql)
            yield uri
    except NoSparkError as error:
        pytest.skip(str(error))


@pytest.fixture(params=[*sorted(MAKERS), "postgresql", "treasure_data", SAIL, SPARK])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Sample:
    if request.param == "adbc-spark":
        uri = request.getfixturevalue("spark")
        return _of_spark_dialect("spark", uri, f"{uri}/;use_ssl=true")
    if request.param == "adbc-sail":
        return _adbc_sail(request.getfixturevalue("sail"))
    if request.param == "treasure_data":
        return _treasure_data(request.getfixturevalue("treasure_data"))
    if request.param == "postgresql":
        return _postgresql(plain_url(request.getfixturevalue("postgresql_url")))
    return MAKERS[request.param](tmp_path)


def plain_url(url: str) -> str:
    """Return the URL as PostgreSQL's own tools take it, without SQLAlchemy's driver."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)

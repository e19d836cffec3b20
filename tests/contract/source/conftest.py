"""One of each source, over the same little table: what every source owes whoever reads it."""

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import duckdb
import pytest
from pydantic import SecretStr
from support.databases import mariadb
from support.databases.mariadb import Mariadb
from support.databases.sail import NoSailError, Sail, execute, sail_server
from support.databases.spark import NoSparkError, spark_server
from support.databases.td_server import DATABASE, KEY, TdServer, td_server
from support.databases.trino_server import PASSWORD as TRINO_PASSWORD
from support.databases.trino_server import TrinoServer, trino_server

from exporter.settings.adbc import AdbcConnection
from exporter.settings.connection import MysqlConnection, SqlalchemyConnection, TreasureDataConnection, TrinoConnection
from exporter.settings.databases import DuckdbConnection, PostgresqlConnection, SqliteConnection
from exporter.sources.registry import open_source
from exporter.sources.source import Source

NUMBERS = 30_000
_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A source with a table ``numbers`` (n from 0 to 29999, ``name`` = 'n' || n), and SQL in its own dialect."""

    source: Source
    broken: Source
    ordered: str
    by_parameter: str
    endless: str
    late_failure: str
    wide: str = "select n, repeat('x', 131072) as body from numbers where n < 300"


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
        wide="select n, replace(hex(zeroblob(65536)), '00', 'xx') as body from numbers where n < 300",
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


def _trino(server: TrinoServer) -> Sample:
    server.engine.execute(f"create table numbers as select n, 'n' || n as name from range({NUMBERS}) t(n)")  # noqa: S608 - our own number
    return Sample(
        source=open_source(trino_connection(server)),
        broken=open_source(trino_connection(server, password=SecretStr("wrong"))),
        ordered="select n, name from numbers order by n",
        by_parameter="select name from numbers where n = $wanted",
        endless="select n.n from numbers n, numbers m, numbers o where sqrt(n.n + m.n) = o.n + 0.5",
        late_failure="select cast(case when n = 29000 then 'no number' else '1' end as integer) as i from numbers",
    )


def _mysql(server: Mariadb, database: str) -> Sample:
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"create table numbers as select seq as n, concat('n', seq) as name from seq_0_to_{NUMBERS - 1}"  # noqa: S608 - our own number
        )
    return Sample(
        source=open_source(mysql_connection(server, database)),
        broken=open_source(mysql_connection(server, "gone")),
        ordered="select n, name from numbers order by n",
        # what is no number would be 0: here it makes a subquery with two rows, which is an error
        by_parameter="select name from numbers "
        "where n = if($wanted regexp '[^0-9]', (select 1 union select 2), $wanted)",
        endless="select n.n from numbers n, numbers m, numbers o where sqrt(n.n + m.n) = o.n + 0.5",
        late_failure="select if(n = 29000, exp(n), n) as i from numbers",
    )


def _sqlalchemy(inner: Sample, url: str, missing: str) -> Sample:
    """Return the sample of another source's database, over SQLAlchemy."""
    return replace(inner, source=open_source(by_url(url)), broken=open_source(by_url(missing)))


def by_url(url: str) -> SqlalchemyConnection:
    return SqlalchemyConnection(type="sqlalchemy", url=SecretStr(url))


def mysql_connection(server: Mariadb, database: str, **others: object) -> MysqlConnection:
    """Return a connection to that server over TCP, as its ordinary account."""
    settings = {"host": "127.0.0.1", "port": server.port, "database": database, **others}
    login = {"user": mariadb.USER, "password": SecretStr(mariadb.PASSWORD)}
    return MysqlConnection.model_validate({"type": "mysql", **login, **settings})


def trino_connection(server: TrinoServer, **others: object) -> TrinoConnection:
    """Return a connection to that server, with the password that it may ask for."""
    settings = {"host": "127.0.0.1", "port": server.port, "http_scheme": "http", "user": "reader", **others}
    return TrinoConnection.model_validate({"type": "trino", "password": SecretStr(TRINO_PASSWORD), **settings})


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


@pytest.fixture
def trino() -> Iterator[TrinoServer]:
    with trino_server(login=True) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Mariadb]:
    try:
        server = mariadb.start()
    except mariadb.NoMariadbError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture
def mysql_database(mariadb_server: Mariadb) -> Iterator[str]:
    """Make an empty database and return its name; it is dropped after the test."""
    name = f"test_{next(_numbers)}"
    with closing(mariadb_server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"create database {name} character set utf8mb4")
        yield name
        cursor.execute(f"drop database {name}")


KINDS: dict[str, Callable[[pytest.FixtureRequest, Path], Sample]] = {
    "duckdb": lambda _, directory: _duckdb(directory),
    "sqlite": lambda _, directory: _sqlite(directory),
    "postgresql": lambda request, _: _postgresql(plain_url(request.getfixturevalue("postgresql_url"))),
    "treasure_data": lambda request, _: _treasure_data(request.getfixturevalue("treasure_data")),
    "trino": lambda request, _: _trino(request.getfixturevalue("trino")),
    "mysql": lambda request, _: _mysql(
        request.getfixturevalue("mariadb_server"), request.getfixturevalue("mysql_database")
    ),
    "sqlalchemy-sqlite": lambda _, directory: _sqlalchemy(
        _sqlite(directory), f"sqlite:///{directory}/sample.db", f"sqlite:///{directory}/missing.db"
    ),
    "sqlalchemy-postgresql": lambda request, _: _sqlalchemy_postgresql(request.getfixturevalue("postgresql_url")),
    "sqlalchemy-mysql": lambda request, _: _sqlalchemy_mysql(
        request.getfixturevalue("mariadb_server"), request.getfixturevalue("mysql_database")
    ),
    "adbc-duckdb": lambda _, directory: _adbc_duckdb(directory),
    "adbc-sail": lambda request, _: _adbc_sail(request.getfixturevalue("sail")),
    "adbc-spark": lambda request, _: _adbc_spark(request.getfixturevalue("spark")),
}
"""Each kind of source, and how a sample of it is made."""
SLOW = frozenset({"mysql", "sqlalchemy-mysql", "adbc-spark"})
"""Those whose server has to be installed on the machine."""
GROUPS = {"adbc-sail": "sail", "adbc-spark": "spark"}
"""Those whose server is one for one of the workers."""


def _marks(kind: str) -> list[pytest.MarkDecorator]:
    marks = [pytest.mark.slow] if kind in SLOW else []
    return marks + ([pytest.mark.xdist_group(GROUPS[kind])] if kind in GROUPS else [])


def _adbc_spark(uri: str) -> Sample:
    return _of_spark_dialect("spark", uri, f"{uri}/;use_ssl=true")


def _sqlalchemy_postgresql(url: str) -> Sample:
    return _sqlalchemy(_postgresql(plain_url(url)), url, url.replace("test_", "gone_"))


def _sqlalchemy_mysql(server: Mariadb, database: str) -> Sample:
    return _sqlalchemy(_mysql(server, database), mysql_url(server, database), mysql_url(server, "gone"))


def mysql_url(server: Mariadb, database: str) -> str:
    """Return SQLAlchemy's URL of a database, by the server's socket."""
    return f"mysql+pymysql://root@/{database}?charset=utf8mb4&unix_socket={server.socket}"


def _server_of(kind: str, request: pytest.FixtureRequest) -> str:
    """Return the name and version of the real thing behind a kind of source."""
    name = SERVERS[kind.rpartition("-")[2]]
    return name(request) if callable(name) else name


SERVERS: dict[str, str | Callable[[pytest.FixtureRequest], str]] = {
    "duckdb": f"DuckDB {duckdb.__version__}",
    "sqlite": f"SQLite {sqlite3.sqlite_version}",
    "postgresql": lambda request: f"PostgreSQL {postgresql_version(request.getfixturevalue('postgresql_url'))}",
    "mysql": lambda request: f"MariaDB {request.getfixturevalue('mariadb_server').version()}",
    "trino": f"a server of Trino's protocol, called by trino {version('trino')}",
    "treasure_data": f"a server of Treasure Data's API, called by td-client {version('td-client')}",
    "sail": f"Sail {version('pysail')}, over Flight SQL",
    "spark": lambda _request: f"Apache Spark {version('pyspark')}, over Spark Connect",
}
"""The real thing behind each kind of source."""


def postgresql_version(url: str) -> str:
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(plain_url(url)) as connection:
        number = connection.info.server_version
    return f"{number // 10_000}.{number % 10_000}"


@pytest.fixture(params=[pytest.param(kind, marks=_marks(kind)) for kind in KINDS])
def sample(request: pytest.FixtureRequest, tmp_path: Path, record_property: Callable[[str, object], None]) -> Sample:
    made = KINDS[request.param](request, tmp_path)
    record_property("source contract", f"{request.param} against {_server_of(request.param, request)}")
    return made


def plain_url(url: str) -> str:
    """Return the URL as PostgreSQL's own tools take it, without SQLAlchemy's driver."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)

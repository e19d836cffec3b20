"""What only SQLAlchemy has: any driver's values, its own marks in SQL, and drivers that are not there."""

import sqlite3
import threading
import urllib.parse
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy.dialects import mysql, postgresql, sqlite
from support.databases import mariadb
from support.databases.mariadb import Mariadb

from exporter.failures import ExportError, FailureKind
from exporter.rows.casts import TextCast, salesforce_rules
from exporter.settings.connection import SqlalchemyConnection
from exporter.sources.source import Query
from exporter.sources.sqlalchemy.errors import dialect_missing, driver_fault, driver_missing
from exporter.sources.sqlalchemy.source import SqlalchemySource, _statement


def source_of(url: str, directory: Path | None = None) -> SqlalchemySource:
    return SqlalchemySource(SqlalchemyConnection(type="sqlalchemy", url=SecretStr(url)), directory=directory)


def read(source: SqlalchemySource, sql: str, *, batch_rows: int = 10, **parameters: object) -> pa.Table:
    with source.read(Query(sql=sql, parameters=parameters), batch_rows=batch_rows) as reader:
        return reader.read_all()


def only_row(source: SqlalchemySource, sql: str, **parameters: object) -> dict[str, Any]:
    [row] = read(source, sql, **parameters).to_pylist()
    return dict(row)


def fault_of(source: SqlalchemySource, sql: str = "select 1 as x", **parameters: object) -> ExportError:
    with pytest.raises(ExportError) as caught:
        read(source, sql, **parameters)
    assert "\n" not in caught.value.message
    return caught.value


@pytest.fixture
def on_sqlite(tmp_path: Path) -> SqlalchemySource:
    with closing(sqlite3.connect(tmp_path / "sample.db")) as connection, connection:
        connection.execute("create table mixed (n, at text)")
        connection.executemany(
            "insert into mixed values (?, ?)", [(1, "2026-11-23 03:00:00"), (0.5, None), ("x", None)]
        )
    return source_of("sqlite:///sample.db", tmp_path)


@pytest.fixture
def on_postgresql(postgresql_url: str) -> SqlalchemySource:
    return source_of(postgresql_url)


def test_every_value_comes_as_exact_as_it_is_stored(on_postgresql: SqlalchemySource) -> None:
    row = only_row(
        on_postgresql,
        """select true as b, 9223372036854775807 as i8, 0.1::float8 as f, 'ü😀' as t, '\\x00ff'::bytea as y,
        12345678901234567890.12345678901234567890 as n, date '2026-02-28' as d,
        time '23:59:59.999999' as ti, timestamp '2026-11-01 01:30:00.123456' as ts,
        timestamptz '2026-11-01 01:30:00+02' as tz, interval '1 day 2 hours' as iv, '{"a": 1.10}'::jsonb as j,
        array[1, null] as a, 'a3bb189e-8bf9-3888-9912-ace4e6543002'::uuid as u, null::int as e""",
    )
    assert row == {
        "b": True,
        "i8": 9223372036854775807,
        "f": 0.1,
        "t": "ü😀",
        "y": b"\x00\xff",
        "n": "12345678901234567890.12345678901234567890",
        "d": date(2026, 2, 28),
        "ti": time(23, 59, 59, 999999),
        "ts": datetime(2026, 11, 1, 1, 30, 0, 123456),  # noqa: DTZ001 - it has no zone
        "tz": datetime(2026, 10, 31, 23, 30, tzinfo=UTC),
        "iv": "1 day 02:00:00",
        "j": '{"a": 1.10}',
        "a": "[1, null]",
        "u": "a3bb189e-8bf9-3888-9912-ace4e6543002",
        "e": None,
    }


def test_a_file_is_found_beside_the_config_file_and_never_made(on_sqlite: SqlalchemySource, tmp_path: Path) -> None:
    assert read(on_sqlite, "select n from mixed").column("n").to_pylist() == ["1", "0.5", "x"]
    fault = fault_of(source_of("sqlite:///gone.db", tmp_path))
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "NO_DATABASE_FILE")
    assert not (tmp_path / "gone.db").exists()


def test_a_slot_is_bound_as_the_engine_writes_times(
    on_sqlite: SqlalchemySource, on_postgresql: SqlalchemySource
) -> None:
    slot = datetime(2026, 11, 23, 3, tzinfo=UTC)
    assert only_row(on_sqlite, "select count(*) as n from mixed where at = $slot", slot=slot) == {"n": "1"}
    assert only_row(on_postgresql, "select $slot as at, '$slot' as t", slot=slot) == {"at": slot, "t": "$slot"}


def test_percent_signs_and_colons_are_the_querys_own(
    on_sqlite: SqlalchemySource, on_postgresql: SqlalchemySource
) -> None:
    for source in (on_sqlite, on_postgresql):
        row = only_row(source, "select '%s %(x)s 50% :x \\:y' as s, $x as x, 7 % 4 as m", x="a:b % %s")
        assert (row["s"], row["x"], int(row["m"])) == ("%s %(x)s 50% :x \\:y", "a:b % %s", 3)
    sliced = only_row(on_postgresql, "select (array['a','b','c'])[1:$n] as a, $n::text as t, '12:30'::time as c", n=2)
    assert sliced == {"a": '["a", "b"]', "t": "2", "c": time(12, 30)}


@pytest.mark.parametrize(
    "dialect", [sqlite.dialect(), postgresql.dialect(), mysql.dialect()], ids=lambda each: each.name
)
@given(text=st.text(alphabet="a:\\%'\" 1s()", max_size=30))
def test_text_without_a_parameter_reaches_the_driver_as_it_is(dialect: Any, text: str) -> None:
    statement, values = _statement(text, {}, dialect.name)
    doubled = dialect.paramstyle in ("format", "pyformat")  # what such a driver then halves again
    assert values == {}
    assert str(statement.compile(dialect=dialect)) == (text.replace("%", "%%") if doubled else text)


def test_a_query_with_a_nul_character_is_refused(on_sqlite: SqlalchemySource) -> None:
    assert fault_of(on_sqlite, "select '\0001' as x, $a as a", a=1).code == "QUERY_REFUSED"


def test_a_result_of_any_size_comes_in_pieces(on_postgresql: SqlalchemySource) -> None:
    with on_postgresql.read(Query(sql="select n from generate_series(1, 25000) n"), batch_rows=1000) as reader:
        assert [batch.num_rows for batch in reader] == [1000] * 25


def test_the_first_rows_decide_what_a_column_is(on_postgresql: SqlalchemySource) -> None:
    many = "select case when n < 100 then null else {} end as x from generate_series(1, 200) n"
    late = read(on_postgresql, many.format("timestamptz '2026-11-01 01:30:00+00'")).column("x")
    assert late.to_pylist()[-1] == "2026-11-01T01:30:00.000000Z"
    assert read(on_postgresql, many.format("1.5")).column("x").to_pylist()[-1] == "1.5"
    fault = fault_of(on_postgresql, many.format("timestamp '2026-11-01 01:30:00'"))
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "VALUE_NOT_SUPPORTED")
    assert '"x"' in fault.message


@pytest.mark.parametrize("value", ["'NaN'::numeric", "array['NaN'::float8]", "array['-Infinity'::numeric]"])
def test_a_number_that_is_none_rejects_its_row_where_numbers_come_as_text(
    on_postgresql: SqlalchemySource, value: str
) -> None:
    assert faults_of(on_postgresql, f"select {value} as x") == [(0, "NOT_A_NUMBER")]


def test_a_number_that_is_none_rejects_its_row_of_an_engine_with_loose_types(on_sqlite: SqlalchemySource) -> None:
    assert faults_of(on_sqlite, "select 1 as x union all select 9e999 union all select 'Infinity'") == [
        (1, "NOT_A_NUMBER")
    ]


def faults_of(source: SqlalchemySource, sql: str) -> list[tuple[int, str]]:
    rows = read(source, sql).combine_chunks().to_batches()[0]
    return [(fault.index, fault.code) for fault in TextCast(rows.schema, salesforce_rules()).apply(rows).faults]


@pytest.mark.parametrize("value", ["date 'infinity'", "timestamp 'infinity'", "time '24:00'"])
def test_a_time_out_of_range_rejects_its_row(on_postgresql: SqlalchemySource, value: str) -> None:
    kind = value.partition(" ")[0]
    fine = {"date": "'2026-01-01'", "timestamp": "'2026-01-01'", "time": "'12:00'"}[kind]
    sql = f"select {kind} {fine} as late union all select {value} union all select null"
    assert faults_of(on_postgresql, sql) == [(1, "VALUE_OUT_OF_RANGE")]


@pytest.mark.parametrize("value", ["time '24:00'", "date 'infinity'", "array[date '0044-03-15 BC']"])
def test_a_column_of_nothing_but_times_out_of_range_is_named(on_postgresql: SqlalchemySource, value: str) -> None:
    fault = fault_of(on_postgresql, f"select date '2026-01-01' as fine, {value} as late")
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "VALUE_NOT_SUPPORTED")
    assert 'Column "late"' in fault.message


def test_an_empty_result_has_its_columns(on_postgresql: SqlalchemySource) -> None:
    table = read(on_postgresql, "select 1 as a, 'x' as b where false")
    assert (table.schema.names, table.num_rows) == (["a", "b"], 0)


WRITES = [
    "with gone as (delete from kept returning n) select n from gone",
    "select n into other from kept",
    "select nextval('numbering') as n",
    "select 1 as x; delete from kept",
    "/* ; */ delete from kept",
    "select writes() as x",
]


@pytest.mark.parametrize("sql", WRITES)
def test_nothing_can_be_written(on_postgresql: SqlalchemySource, postgresql_url: str, sql: str) -> None:
    engine = sa.create_engine(postgresql_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("create table kept as select 1 as n")
        connection.exec_driver_sql("create sequence numbering")
        body = "with gone as (delete from kept returning n) select count(*) from gone"
        connection.exec_driver_sql(f"create function writes() returns bigint language sql as '{body}'")
    assert fault_of(on_postgresql, sql).kind is FailureKind.CONFIGURATION
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select count(*) from kept").scalar_one() == 1
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("no url", "URL", "dialect+driver://"),
        ("nonsense://u:hunter2pw@h/d", "DRIVER_MISSING", "nonsense"),
        ("postgresql+psycopg2://u:hunter2pw@h/d", "DRIVER_MISSING", "psycopg2"),
        ("mssql+pyodbc://u:hunter2pw@h/d", "DRIVER_MISSING", "pyodbc"),
        ("sqlite+aiosqlite://", "DRIVER_MISSING", "aiosqlite"),
        ("postgresql+psycopg_async://u:hunter2pw@h/d", "URL", "asyncio"),
        ("postgresql+psycopg://u:hunter2pw@127.0.0.1:port/d", "URL", "dialect+driver://"),
    ],
)
def test_a_url_that_leads_nowhere_is_configuration_and_not_shown(url: str, code: str, words: str) -> None:
    fault = fault_of(source_of(url))
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, code)
    assert words in fault.message
    assert "hunter2" not in str(fault)


@pytest.mark.parametrize(
    ("module", "how"),
    [
        ("pymysql", "pip install 'schedctl[mysql]'"),
        ("psycopg", "pip install 'schedctl[postgresql]'"),
        ("MySQLdb", "pip install 'schedctl[mysql]' and let the url begin with mysql+pymysql://"),
        ("psycopg2", "pip install 'schedctl[postgresql]' and let the url begin with postgresql+psycopg://"),
        ("mysql.connector", "pip install mysql-connector-python"),
        ("pyodbc", "pip install pyodbc"),
        ("rare_driver", "install the package that has rare_driver beside schedctl"),
    ],
)
def test_a_driver_that_is_missing_is_told_with_what_installs_it(module: str, how: str) -> None:
    fault = driver_missing(ModuleNotFoundError(f"No module named '{module}'", name=module))
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "DRIVER_MISSING")
    assert fault.message == f"This url needs {module.partition('.')[0]}, which is not installed: {how}"


@pytest.mark.parametrize(
    ("url", "how"),
    [
        ("mysql://u:hunter2pw@h/d", "pip install 'schedctl[mysql]' and let the url begin with mysql+pymysql://"),
        ("mariadb://u:hunter2pw@h/d", "pip install 'schedctl[mysql]' and let the url begin with mysql+pymysql://"),
        ("postgres://u:hunter2pw@h/d", "let the url begin with postgresql+psycopg://"),
        ("nonsense://u:hunter2pw@h/d", "correct the url, or install its dialect"),
    ],
)
def test_a_url_without_a_driver_that_is_here_is_told_which_to_name(url: str, how: str) -> None:
    fault = fault_of(source_of(url))
    assert fault.code == "DRIVER_MISSING"
    assert fault.message.endswith(f": {how}")


def test_without_trino_the_extra_is_named() -> None:
    assert dialect_missing("trino").message == "SQLAlchemy knows no trino: pip install 'schedctl[trino]'"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["{0}:{1}@127.0.0.1:{2}", "{0}@127.0.0.1:{2}/?password={1}"])
def test_a_password_of_mysql_may_be_any_text(mariadb_server: Mariadb, form: str) -> None:
    def url(password: str) -> str:
        return "mysql+pymysql://" + form.format(
            mariadb.USER, urllib.parse.quote(password, safe=""), mariadb_server.port
        )

    assert only_row(source_of(url(mariadb.PASSWORD)), "select 1 as x") == {"x": 1}
    for wrong in ("s3cret", "パスワード"):
        fault = fault_of(source_of(url(wrong)))
        assert fault.kind is FailureKind.CONFIGURATION
        assert wrong not in fault.message


def test_a_server_that_is_down_is_transient() -> None:
    fault = fault_of(source_of("postgresql+psycopg://u:hunter2pw@127.0.0.1:1/d"))
    assert (fault.kind, fault.code) == (FailureKind.TRANSIENT, "CONNECTION_LOST")
    assert "hunter2" not in str(fault)


def test_a_connection_that_the_server_breaks_off_is_transient(
    on_postgresql: SqlalchemySource, postgresql_url: str
) -> None:
    engine = sa.create_engine(postgresql_url)
    with engine.connect() as other:
        others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        with on_postgresql.read(Query(sql="select n from generate_series(1, 999999) n"), batch_rows=10) as reader:
            reader.read_next_batch()
            other.exec_driver_sql(f"select pg_terminate_backend(pid) {others}").all()
            with pytest.raises(ExportError) as caught:
                reader.read_all()
    engine.dispose()
    assert caught.value.kind is FailureKind.TRANSIENT


class Unknown:
    """A driver that schedctl has no rules for."""

    class Error(Exception):
        """PEP 249's."""

    class OperationalError(Error):
        """The same."""

    class DataError(Error):
        """The same."""

    class ProgrammingError(Error):
        """The same."""


@pytest.mark.parametrize(
    ("make", "kind", "code"),
    [
        (lambda: Unknown.OperationalError("network is gone"), FailureKind.TRANSIENT, "DRIVER_ERROR"),
        (lambda: Unknown.ProgrammingError("no such table"), FailureKind.CONFIGURATION, "DRIVER_ERROR"),
        (lambda: Unknown.DataError("no number: 'secret'"), FailureKind.CONFIGURATION, "DRIVER_ERROR"),
        (lambda: Unknown.OperationalError("42S02", "no such table"), FailureKind.CONFIGURATION, "42S02"),
        (lambda: Unknown.OperationalError("08S01", "gone"), FailureKind.TRANSIENT, "CONNECTION_LOST"),
        (lambda: Unknown.ProgrammingError("40001", "deadlock"), FailureKind.TRANSIENT, "40001"),
        (lambda: Unknown.ProgrammingError("22018", "no number: 'secret'"), FailureKind.CONFIGURATION, "22018"),
    ],
)
def test_the_errors_of_any_driver_have_a_kind_and_show_no_row(
    make: Callable[[], Exception], kind: FailureKind, code: str
) -> None:
    fault = driver_fault(make(), "select 1")
    assert (fault.kind, fault.code) == (kind, code)
    assert "secret" not in fault.message


def test_leaving_a_query_of_postgresql_ends_it_there(on_postgresql: SqlalchemySource, postgresql_url: str) -> None:
    with on_postgresql.read(Query(sql="select n from generate_series(1, 9999999) n"), batch_rows=10) as reader:
        reader.read_next_batch()
    engine = sa.create_engine(postgresql_url)
    pause = threading.Event()
    with engine.connect() as connection:
        for _ in range(500):
            others = connection.exec_driver_sql(
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            ).scalar_one()
            connection.rollback()
            if not others:
                break
            pause.wait(0.02)
    engine.dispose()
    assert others == 0

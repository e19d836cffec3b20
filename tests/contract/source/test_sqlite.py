"""What only SQLite has: errors in the middle of a row, and those of the text."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from exporter.failures import ExportError, FailureKind
from exporter.rows.casts import TextCast, salesforce_rules
from exporter.settings.databases import SqliteConnection
from exporter.sources.registry import open_source
from exporter.sources.source import Query, Source


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "rows.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table r as select ? as v", ["it's ROWSECRET"])
    return open_source(SqliteConnection(type="sqlite", path=str(path)))


def fault_of(source: Source, sql: str, **parameters: object) -> ExportError:
    with (
        pytest.raises(ExportError) as caught,
        source.read(Query(sql=sql, parameters=parameters), batch_rows=10) as reader,
    ):
        reader.read_all()
    return caught.value


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("json_extract('{}', v)", "left out"),
        ("json_extract('{}', '$[' || v)", "left out"),
        ("json(v)", "malformed JSON"),
        ("abs(-9223372036854775807 - length(v) * 0 - 1)", "integer overflow"),
    ],
)
def test_no_value_of_a_row_is_in_what_sqlite_says(source: Source, expression: str, says: str) -> None:
    fault = fault_of(source, f"select {expression} as x from r")  # noqa: S608 - our own expression
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "SQLITE_ERROR")
    assert says in fault.message
    assert "ROWSECRET" not in fault.message


@pytest.mark.parametrize(
    ("sql", "code", "says"),
    [
        ("select nosuch from r", "SQLITE_ERROR", "no such column: nosuch"),
        ("select * from nosuch", "SQLITE_ERROR", "no such table: nosuch"),
        ("selec 1", "NOT_A_SELECT", "of type SELEC"),
        ("select 1 frm r where", "SQLITE_ERROR", "syntax error"),
        ("select nosuch(v) from r", "SQLITE_ERROR", "no such function: nosuch"),
        ("select 1 as a; select 2 as b", "NOT_ONE_QUERY", "2 statements"),
        ("delete from r", "NOT_A_SELECT", "of type DELETE"),
        ("with a as (select 1) delete from r", "QUERY_WRITES", "only read"),
        ("-- select\npragma journal_mode=delete", "NOT_A_SELECT", "of type PRAGMA"),
        ("; attach 'other.db' as other", "NOT_A_SELECT", "of type ATTACH"),
        ("\ufeffpragma user_version", "NOT_A_SELECT", "of type PRAGMA"),
        ("/* /* */ pragma user_version -- */ select 1", "NOT_A_SELECT", "of type PRAGMA"),
        ("select 1 as ok, cast(x'ff' as text) as bad", "NOT_UTF8", 'column "bad" is not UTF-8: cast it to BLOB'),
        ("select cast(x'ff' as text) as größe", "NOT_UTF8", 'column "gr…e" is not UTF-8'),
        ("explain select 1", "NOT_A_SELECT", "of type EXPLAIN"),
        ("table r", "SQLITE_ERROR", "syntax error"),
        ("-- nothing", "NOT_ONE_QUERY", "0 statements"),
        ("select $nosuch as a", "UNKNOWN_PARAMETER", "$nosuch"),
        ("select $big as a", "PARAMETER_TOO_LARGE", "integers"),
    ],
)
def test_what_is_wrong_with_the_text_is_told_in_sqlites_words(source: Source, sql: str, code: str, says: str) -> None:
    fault = fault_of(source, sql, big=2**70)
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, code)
    assert says in fault.message


def test_numbers_come_in_full_without_an_exponent(source: Source) -> None:
    sql = "select 1e300 as a, 9223372036854775807 + 1 as b, 0.1 as c, -1e-7 as d, cast(9e999 as text) as e"
    with source.read(Query(sql=sql), batch_rows=10) as reader:
        [row] = reader.read_all().to_pylist()
    assert row == {"a": "1" + "0" * 300, "b": "9223372036854776000", "c": "0.1", "d": "-0.0000001", "e": "Inf"}


def test_an_infinite_number_rejects_its_row_and_no_text_that_looks_like_one(source: Source) -> None:
    sql = (
        "select 1.5 as a union all select 9e999 union all select -9e999 union all select 'Infinity' union all select 2"
    )
    with source.read(Query(sql=sql), batch_rows=10) as reader:
        text = TextCast(reader.schema, salesforce_rules()).apply(next(reader))
    assert [(fault.index, fault.code) for fault in text.faults] == [(1, "NOT_A_NUMBER"), (2, "NOT_A_NUMBER")]
    assert text.batch.column("a").to_pylist() == ["1.5", "Infinity", "-Infinity", "Infinity", "2"]


def test_a_text_that_is_no_utf8_is_not_shown(source: Source) -> None:
    fault = fault_of(source, "select 1 as n, v || cast(x'ff' as text) as bad from r")
    assert fault.code == "NOT_UTF8"
    assert 'column "bad"' in fault.message
    assert "ROWSECRET" not in fault.message

"""Queries made of strings, names, comments and values by the rules of each engine: what is bound, and what is not.

The truth is known because the query is made of it; DuckDB, SQLite and PostgreSQL themselves are the judges of theirs.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from exporter.sql.parameters import number_parameters
from scheduler.sql.bind import bind

SLOT = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
PARAMS: dict[str, object] = {"region": "EU'; -- :n", "n": 7, "share": 0.25}
ODD = [":region", "$region", "TD_SCHEDULED_TIME()", ":scheduled_time", "'", "''", '"', "`", "\\", "--", "/*", "*/", "#"]
ODDER = ["//", "$$", "$t$", "$", "{#", "{{", "%", "?", "@a", "::", "[", "]", ";", "\n", "\r\n", "e\u0301😀", "a", " "]
BODY = st.lists(st.sampled_from(ODD + ODDER), max_size=8).map("".join)


def doubled(mark: str, body: str) -> str:
    return mark + body.replace(mark, mark * 2) + mark


def escaped(mark: str, body: str) -> str:
    return mark + body.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def in_dollars(body: str) -> str:
    tag = "$qqq$" if "$" in body else "$$"
    return f"{tag}{body}{tag}"


def in_pair(body: str) -> str:
    return f"$${body}$$" if "$" not in body else escaped("'", body)


def line(start: str) -> Callable[[str], str]:
    return lambda body: f"{start} {body}".replace("\r", "").replace("\n", "").rstrip("\\") + "\n"


def block(body: str) -> str:
    return f"/* {body.replace('*', '')} */"


def nested(body: str) -> str:
    return f"/* a {block(body)} :region ' */"


@dataclass(frozen=True)
class Ways:
    """How an engine writes strings, quoted names and comments."""

    strings: Sequence[Callable[[str], str]]
    names: Sequence[Callable[[str], str]]
    comments: Sequence[Callable[[str], str]]


def standard(body: str) -> str:
    return doubled("'", body)


def quoted_name(body: str) -> str:
    return doubled('"', f"n{body}")


def backticks(body: str) -> str:
    return doubled("`", f"n{body}")


def c_string(body: str) -> str:
    return "E" + escaped("'", body)


def double_string(body: str) -> str:
    return escaped('"', body)


def single_string(body: str) -> str:
    return escaped("'", body)


COMMENTS = [line("--"), block]
ENGINES = {
    "duckdb": Ways([standard, c_string, in_dollars], [quoted_name], [*COMMENTS, nested]),
    "postgres": Ways([standard, c_string, in_dollars], [quoted_name], [*COMMENTS, nested]),
    "sqlite": Ways([standard], [quoted_name, backticks], COMMENTS),
    "trino": Ways([standard], [quoted_name], COMMENTS),
    "mysql": Ways(
        [single_string, lambda body: doubled('"', body.replace("\\", "\\\\"))], [backticks], [*COMMENTS, line("#")]
    ),
    "snowflake": Ways([single_string, in_pair], [quoted_name], [*COMMENTS, line("//")]),
    "spark": Ways([single_string, double_string], [backticks], [*COMMENTS, nested]),
    "hive": Ways([single_string, double_string], [backticks], COMMENTS),
    "bigquery": Ways([single_string, double_string], [lambda body: escaped("`", f"n{body}")], [*COMMENTS, line("#")]),
}
VALUES = {
    ":region": ("$region", PARAMS["region"]),
    ":n": ("$n", PARAMS["n"]),
    ":share": ("$share", PARAMS["share"]),
    "td_Scheduled_time ( )": ("$td_scheduled_time", int(SLOT.timestamp())),
    "TD_SCHEDULED_TIME()": ("$td_scheduled_time", int(SLOT.timestamp())),
}


@dataclass(frozen=True)
class Made:
    """A query, what it has to become for an engine with named and with numbered parameters, and the row it gives."""

    sql: str
    named: str
    numbered: str
    row: tuple[object, ...]


def written(ways: Sequence[Callable[[str], str]]) -> st.SearchStrategy[str]:
    return st.builds(lambda way, body: way(body), st.sampled_from(ways), BODY)


@st.composite
def queries(draw: st.DrawFn, ways: Ways) -> Made:
    sql = named = numbered = "select"
    row: list[object] = []
    numbers: dict[str, int] = {}
    for position in range(draw(st.integers(1, 4))):
        comment = draw(st.sampled_from(["", " ", "\r\n"]) | written(ways.comments))
        before, behind = f"{',' * (position > 0)} {comment}", f" {comment} as {draw(written(ways.names))}"
        if draw(st.booleans()):
            token = draw(st.sampled_from([*VALUES]))
            name, value = VALUES[token]
            number = f"${numbers.setdefault(name, len(numbers) + 1)}"
        else:
            value = draw(BODY)
            token = name = number = draw(st.sampled_from(ways.strings))(value)
        sql, named, numbered = (
            so_far + before + each + behind for so_far, each in ((sql, token), (named, name), (numbered, number))
        )
        row.append(value)
    return Made(sql, named, numbered, tuple(row))


def check_text(made: Made, dialect: str) -> tuple[dict[str, object], list[object]]:
    """Check the text that is sent; returns the values by name, and in order."""
    found = bind(made.sql, scheduled_time=SLOT, last_scheduled_time=None, params=PARAMS, dialect=dialect)
    assert found.sql == made.named
    sql, values = number_parameters(found.sql, found.parameters, write=lambda number: f"${number}", dialect=dialect)
    assert sql == made.numbered
    assert len(values) == len(found.parameters)
    return found.parameters, values


@pytest.mark.parametrize("dialect", ENGINES)
def test_values_are_found_where_they_stand_and_nothing_else_is_touched(dialect: str) -> None:
    @examples(60)
    @given(queries(ENGINES[dialect]))
    def holds(made: Made) -> None:
        check_text(made, dialect)

    holds()


@examples(150)
@given(queries(ENGINES["duckdb"]))
def test_duckdb_gives_the_values_and_the_strings_as_they_are(made: Made) -> None:
    named, _ = check_text(made, "duckdb")
    with duckdb.connect() as connection:
        assert connection.execute(made.named, named or None).fetchone() == made.row


@examples(150)
@given(queries(ENGINES["sqlite"]))
def test_sqlite_gives_the_values_and_the_strings_as_they_are(made: Made) -> None:
    named, _ = check_text(made, "sqlite")
    with closing(sqlite3.connect(":memory:")) as connection:
        assert connection.execute(made.named, named).fetchone() == made.row


@pytest.fixture
def postgresql(postgresql_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


INCREMENTAL = """select :last_scheduled_time as last, date_trunc('day', :last_scheduled_time) as day, 1 as n
where :last_scheduled_time is null or now() > :last_scheduled_time - interval '1 day'"""
MIDNIGHT = SLOT.replace(hour=0)


@pytest.mark.parametrize(("last", "row"), [(None, (None, None, 1)), (SLOT, (SLOT, MIDNIGHT, 1))])
def test_a_query_that_works_later_works_before_the_first_success_too(
    last: datetime | None, row: tuple[object, ...], postgresql: psycopg.Connection
) -> None:
    found = bind(INCREMENTAL, scheduled_time=SLOT, last_scheduled_time=last, dialect="duckdb")
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        assert connection.execute(found.sql, found.parameters).fetchone() == row
    sql, values = number_parameters(found.sql, found.parameters, write=lambda n: f"${n}", dialect="postgres")
    with psycopg.RawCursor(postgresql) as cursor:
        cursor.execute("set timezone = 'UTC'")
        assert cursor.execute(sql.encode(), values).fetchone() == row


def test_postgresql_gives_the_values_and_the_strings_as_they_are(postgresql: psycopg.Connection) -> None:
    @examples(150)
    @given(queries(ENGINES["postgres"]))
    def holds(made: Made) -> None:
        _, values = check_text(made, "postgres")
        with psycopg.RawCursor(postgresql) as cursor:
            assert cursor.execute(made.numbered.encode(), values or None).fetchone() == made.row

    holds()

"""Treasure Data's time functions on other engines: the rewritten query, and what the engines make of it."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import duckdb
import psycopg
import pytest
from sqlglot import parse_one

from exporter.failures import ExportError, FailureKind
from scheduler.sql.bind import bind
from scheduler.sql.td_functions import TdFunctionError, rewrite

SLOT = datetime(2026, 11, 24, 15, 30, 10, tzinfo=UTC)
"""A Tuesday; in Tokyo it is 00:30:10 on the 25th."""
NOW = int(SLOT.timestamp())
HOUR, DAY = 3600, 86_400
MIDNIGHT = int(datetime(2026, 11, 24, tzinfo=UTC).timestamp())


def epoch(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[arg-type,misc]  # whole numbers


def sql(text: str, engine: str = "duckdb") -> str:
    return rewrite(text, engine=engine, scheduled_time=SLOT)


NINE, HALF_PAST_SIX = epoch(2026, 11, 1, 9), epoch(2026, 11, 2, 18, 30)
LONG_NIGHT = epoch(2026, 10, 24, 22)


@pytest.mark.parametrize(
    ("call", "low", "high"),
    [
        ("TD_TIME_RANGE(t, '2026-11-01', '2026-11-02')", epoch(2026, 11, 1), epoch(2026, 11, 2)),
        ("td_time_range(t, '2026-11-01', '2026-11-02', 'JST')", epoch(2026, 10, 31, 15), epoch(2026, 11, 1, 15)),
        (
            "TD_TIME_RANGE(t, '2026-11-01 09:00:00', '2026-11-01 18:30')",
            epoch(2026, 11, 1, 9),
            epoch(2026, 11, 1, 18, 30),
        ),
        ("TD_TIME_RANGE(t, 5, 10)", 5, 10),
        ("TD_TIME_RANGE(t, NULL, 10, 'Asia/Tokyo')", None, 10),
        ("TD_TIME_RANGE(t, '2026-11-01 JST')", epoch(2026, 10, 31, 15), None),
        ("TD_TIME_RANGE(t, TD_TIME_ADD(TD_SCHEDULED_TIME(), '-1d'), TD_SCHEDULED_TIME())", NOW - DAY, NOW),
        ("TD_TIME_RANGE(t, TD_TIME_ADD('2026-11-01', '1d', 'JST'), null)", epoch(2026, 11, 1, 15), None),
        ("TD_TIME_RANGE(t, TD_TIME_PARSE('2026-11-01', 'JST'), null)", epoch(2026, 10, 31, 15), None),
        # The night when summer time ends has 25 hours.
        (
            "TD_TIME_RANGE(t, '2026-10-25', '2026-10-26', 'Europe/Berlin')",
            epoch(2026, 10, 24, 22),
            epoch(2026, 10, 25, 23),
        ),
        ("TD_INTERVAL(t, '-1d')", MIDNIGHT - DAY, MIDNIGHT),
        ("TD_INTERVAL(t, '-1d', 'JST')", epoch(2026, 11, 23, 15), epoch(2026, 11, 24, 15)),
        ("TD_INTERVAL(t, '-7d')", MIDNIGHT - 7 * DAY, MIDNIGHT),
        ("TD_INTERVAL(t, '-2h')", epoch(2026, 11, 24, 13), epoch(2026, 11, 24, 15)),
        ("TD_INTERVAL(t, '-30m')", epoch(2026, 11, 24, 15), epoch(2026, 11, 24, 15, 30)),
        ("TD_INTERVAL(t, '-1w')", epoch(2026, 11, 16), epoch(2026, 11, 23)),
        ("TD_INTERVAL(t, '-1M')", epoch(2026, 10, 1), epoch(2026, 11, 1)),
        ("TD_INTERVAL(t, '-1q')", epoch(2026, 7, 1), epoch(2026, 10, 1)),
        ("TD_INTERVAL(t, '-1y')", epoch(2025, 1, 1), epoch(2026, 1, 1)),
        ("TD_INTERVAL(t, '-1d/-1d')", MIDNIGHT - 2 * DAY, MIDNIGHT - DAY),
        ("TD_INTERVAL(t, '-1M/-2M')", epoch(2026, 8, 1), epoch(2026, 9, 1)),
    ],
)
def test_a_range_begins_with_its_start_and_ends_before_its_end(call: str, low: int | None, high: int | None) -> None:
    terms = [f"(t) >= {low}"] * (low is not None) + [f"(t) < {high}"] * (high is not None)
    assert sql(f"select 1 where {call} or b") == f"select 1 where ({' AND '.join(terms)}) or b"


def test_a_range_that_is_open_on_both_sides_takes_every_time_that_there_is() -> None:
    assert sql("TD_TIME_RANGE(a.b, NULL, NULL)") == "((a.b) IS NOT NULL)"


def test_columns_and_expressions_stay_what_they_are() -> None:
    assert sql("TD_TIME_RANGE(max(x, y), begin_at, TD_TIME_ADD(begin_at, '2h'))") == (
        "((max(x, y)) >= (begin_at) AND (max(x, y)) < (((begin_at) + 7200)))"
    )
    assert sql("TD_TIME_ADD(time, '-90m')") == "((time) + -5400)"


@pytest.mark.parametrize(
    "text",
    [
        "select 'TD_INTERVAL(t, ''-1x'')'",
        'select "TD_TIME_ADD("(t, 5)',
        "select 1 -- TD_TIME_RANGE(t)",
        "/* TD_TIME_FORMAT(t) */ select 1",
        "select MY_TD_TIME_ADD(1), TD_TIME_ADDITION(2)",
        "select TD_SCHEDULED_TIME()",
    ],
)
def test_strings_comments_and_other_names_are_left_alone(text: str) -> None:
    assert sql(text) == text


def test_a_string_with_brackets_and_commas_is_one_argument() -> None:
    assert sql("TD_TIME_RANGE(coalesce(t, length('a,)''(')), 1, 2)") == (
        "((coalesce(t, length('a,)''('))) >= 1 AND (coalesce(t, length('a,)''('))) < 2)"
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("TD_INTERVAL(t, '1d')", "TD_INTERVAL: the interval '1d' has no form here"),
        ("TD_INTERVAL(t, '-1d/now')", "has no form here"),
        ("TD_INTERVAL(t, x)", "the interval has to be written in single quotes, not as x"),
        ("TD_INTERVAL(t)", "TD_INTERVAL takes 2 to 3 arguments, not 1"),
        ("TD_TIME_ADD(t, '1M')", "TD_TIME_ADD: the duration '1M'"),
        ("TD_TIME_RANGE(t, 'yesterday')", "the time 'yesterday' is not written as"),
        ("TD_TIME_RANGE(t, '2026-02-30')", "the time '2026-02-30' is none"),
        ("TD_TIME_RANGE(t, '2026-02-03', NULL, 'PST')", "'PST' is an abbreviation"),
        ("TD_TIME_RANGE(t, 1, 2, 'UTC', 5)", "takes 2 to 4 arguments, not 5"),
        ("TD_TIME_RANGE(t, 1", "a bracket is not closed"),
        ("TD_TIME_PARSE(t)", "the time has to be written in single quotes"),
        ("TD_TIME_FORMAT(t, 'EEE')", "the format has EEE"),
    ],
)
def test_what_has_no_faithful_form_is_a_fault_that_names_the_call(call: str, says: str) -> None:
    with pytest.raises(TdFunctionError) as caught:
        sql("select CALL from x".replace("CALL", call))
    assert says in str(caught.value)
    with pytest.raises(ExportError) as failed:
        bind("select CALL".replace("CALL", call), scheduled_time=SLOT, last_scheduled_time=None, engine="duckdb")
    assert (failed.value.kind, failed.value.code) == (FailureKind.CONFIGURATION, "TD_FUNCTION")


def test_on_treasure_data_itself_nothing_is_rewritten() -> None:
    text = "select TD_INTERVAL(t, '1d/now'), TD_TIME_FORMAT(t, 'EEE')"
    for engine in ("treasure_data", None):
        assert bind(text, scheduled_time=SLOT, last_scheduled_time=None, engine=engine).sql == text


def test_a_constant_time_is_formatted_here() -> None:
    call = "TD_TIME_FORMAT(TD_SCHEDULED_TIME(), 'yyyy-MM-dd''T''HH:mm:ss', 'JST')"
    for dialect in ("trino", "mysql", "bigquery", None):
        assert rewrite(call, engine="sqlalchemy", dialect=dialect, scheduled_time=SLOT) == "'2026-11-25T00:30:10'"


@pytest.mark.parametrize(
    ("call", "engine", "dialect", "says"),
    [
        (
            "TD_TIME_FORMAT(t, 'yyyy')",
            "sqlalchemy",
            "oracle",
            "TD_TIME_FORMAT on a source of type sqlalchemy: this engine",
        ),
        ("TD_TIME_FORMAT(t, 'yyyy')", "adbc", None, "write its own function for dates instead"),
        ("TD_TIME_FORMAT(t, 'yyyy', 'Europe/Berlin')", "sqlite", None, "summer time in Europe/Berlin"),
        ("TD_TIME_FORMAT(t, 'yyyy', 'America/New_York')", "mysql", None, "use a zone without, such as UTC or JST"),
        ("TD_TIME_FORMAT(t, 'yyyy''''MM')", "mysql", None, "a quote or a backslash"),
        ("TD_TIME_FORMAT(t, 'yyyy\"MM')", "adbc", "snowflake", 'holds a "'),
        ("TD_TIME_FORMAT(5, 'yyyy''''MM')", "adbc", "spark", "a quote or a backslash"),
        ("TD_TIME_FORMAT(99999999999999999, 'yyyy')", "duckdb", None, "TD_TIME_FORMAT: it leads out of the years"),
        ("TD_INTERVAL(t, '-5000y')", "duckdb", None, "TD_INTERVAL: it leads out of the years 1 to 9999"),
        (
            "TD_TIME_RANGE(t, :last_scheduled_time, NULL)",
            "sqlite",
            None,
            "TD_TIME_RANGE: :last_scheduled_time is a time",
        ),
        ("TD_TIME_RANGE(t, , 5)", "sqlite", None, "TD_TIME_RANGE: an argument is empty"),
    ],
)
def test_what_an_engine_cannot_say_is_a_fault_that_names_it_and_what_to_write(
    call: str, engine: str, dialect: str | None, says: str
) -> None:
    with pytest.raises(TdFunctionError) as caught:
        rewrite(f"select {call}", engine=engine, dialect=dialect, scheduled_time=SLOT)
    assert says in str(caught.value)


def test_comments_around_arguments_go_and_those_inside_stay() -> None:
    text = "TD_TIME_RANGE(/* the */ t -- time\n + 1 -- of\n , /* from */ '2026-11-01' -- to\n, NULL)"
    assert sql(text) == f"((t -- time\n + 1) >= {epoch(2026, 11, 1)})"


@pytest.mark.parametrize(
    ("dialect", "says"),
    [
        ("mysql", "DATE_FORMAT(TIMESTAMP '1970-01-01 00:00:00' + INTERVAL ((t) + 32400) SECOND, '%Y-%m-%d T%%%H:%i')"),
        ("trino", "format_datetime(from_unixtime(t, 'Asia/Tokyo'), 'yyyy-MM-dd'' T%''HH:mm')"),
        ("presto", "format_datetime(from_unixtime(t, 'Asia/Tokyo'), 'yyyy-MM-dd'' T%''HH:mm')"),
        ("bigquery", "FORMAT_TIMESTAMP('%Y-%m-%d T%%%H:%M', TIMESTAMP_SECONDS(t), 'Asia/Tokyo')"),
        (
            "snowflake",
            "TO_CHAR(CONVERT_TIMEZONE('UTC', 'Asia/Tokyo', TO_TIMESTAMP_NTZ(t, 0)), 'YYYY-MM-DD\" T%\"HH24:MI')",
        ),
        ("spark", "substr(CAST(convert_timezone('UTC', 'Asia/Tokyo', timestamp_ntz '1970-01-01 00:00:00' + "),
        ("databricks", " + make_dt_interval(0, 0, 0, t)) AS STRING), 1, 10), ' T%', substr("),
        ("postgres", "'YYYY-MM-DD\" T%\"HH24:MI'"),
        ("sqlite", "((t) + 32400), 'unixepoch')"),
        ("duckdb", "strftime(to_timestamp(t) AT TIME ZONE 'Asia/Tokyo', '%Y-%m-%d T%%%H:%M')"),
    ],
)
def test_what_each_engine_is_asked_is_sql_of_that_engine(dialect: str, says: str) -> None:
    text = "select TD_TIME_FORMAT(t, 'yyyy-MM-dd'' T%''HH:mm', 'JST') as x from y where TD_INTERVAL(t, '-1d')"
    written = rewrite(text, engine="adbc", dialect=dialect, scheduled_time=SLOT)
    assert parse_one(written, dialect=dialect)
    assert says in written


def ask_duckdb(text: str, _url: str) -> Any:
    with duckdb.connect() as connection:
        found = connection.execute(text).fetchone()
    assert found is not None
    return found[0]


def ask_sqlite(text: str, _url: str) -> Any:
    with closing(sqlite3.connect(":memory:")) as connection:
        return connection.execute(text).fetchone()[0]


def ask_postgresql(text: str, url: str) -> Any:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        found = connection.execute(text.encode()).fetchone()
    assert found is not None
    return found[0]


ENGINES = {"duckdb": ask_duckdb, "sqlite": ask_sqlite, "postgresql": ask_postgresql}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engines_say_what_treasure_data_says(engine: str, postgresql_url: str) -> None:
    def answer(text: str) -> Any:
        return ENGINES[engine](sql(text.replace("NOW", str(NOW)), engine), postgresql_url)

    times = " union all ".join(f"select {time} as t" for time in (MIDNIGHT - 1, MIDNIGHT - DAY, MIDNIGHT, "null"))
    count = "with x as (TIMES) select count(*) from x where TD_INTERVAL(t, '-1d') and not TD_TIME_RANGE(t, NOW)"
    assert answer(count.replace("TIMES", times)) == 2
    assert answer("select TD_TIME_FORMAT(t, 'yyyy/MM/dd 100% HH:mm:ss') from (select NOW as t) as x") == (
        "2026/11/24 100% 15:30:10"
    )
    for pattern, zone, text in FORMATS:
        if engine == "sqlite" and zone.startswith("America"):
            continue
        quoted = pattern.replace("'", "''")
        call = f"TD_TIME_FORMAT(t, '{quoted}', '{zone}')"
        assert answer("select CALL from (select NOW as t) as x".replace("CALL", call)) == text
    assert answer("select TD_TIME_FORMAT(t, 'yyyy') from (select cast(null as integer) as t) as x") is None
    assert answer("select TD_TIME_ADD(t, '-1d') from (select 86400 as t) as x") == 0


FORMATS = [
    ("yyyyMMdd'T'HH", "JST", "20261125T00"),
    ("dd.MM.yyyy", "Asia/Kolkata", "24.11.2026"),
    ("yyyy-MM-dd HH:mm:ss", "America/New_York", "2026-11-24 10:30:10"),
    ("'it''s' yyyy \"\\ % '%Y' #", "UTC", "it's 2026 \"\\ % %Y #"),
]

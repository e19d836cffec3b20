"""Treasure Data's time functions on other engines: the rewritten query, and what the engines make of it."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import duckdb
import psycopg
import pytest

from exporter.failures import ExportError, FailureKind
from scheduler.query import bind
from scheduler.td_functions import TdFunctionError, rewrite

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
        ("TD_INTERVAL(t, x)", "the interval has to be written in quotes, not as x"),
        ("TD_INTERVAL(t)", "TD_INTERVAL takes 2 to 3 arguments, not 1"),
        ("TD_TIME_ADD(t, '1M')", "TD_TIME_ADD: the duration '1M'"),
        ("TD_TIME_RANGE(t, 'yesterday')", "the time 'yesterday' is not written as"),
        ("TD_TIME_RANGE(t, '2026-02-30')", "the time '2026-02-30' is none"),
        ("TD_TIME_RANGE(t, '2026-02-03', NULL, 'PST')", "'PST' is an abbreviation"),
        ("TD_TIME_RANGE(t, 1, 2, 'UTC', 5)", "takes 2 to 4 arguments, not 5"),
        ("TD_TIME_RANGE(t, 1", "a bracket is not closed"),
        ("TD_TIME_PARSE(t)", "the time has to be written in quotes"),
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
    assert sql(call, "trino") == "'2026-11-25T00:30:10'"
    with pytest.raises(TdFunctionError, match="a trino source has no form of it"):
        sql("TD_TIME_FORMAT(t, 'yyyy')", "trino")
    with pytest.raises(TdFunctionError, match="a sqlite source has no form of it for Asia/Tokyo"):
        sql("TD_TIME_FORMAT(t, 'yyyy', 'JST')", "sqlite")


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
    if engine != "sqlite":
        assert answer("select TD_TIME_FORMAT(t, 'yyyyMMdd''T''HH', 'JST') from (select NOW as t) as x") == "20261125T00"
    assert answer("select TD_TIME_ADD(t, '-1d') from (select 86400 as t) as x") == 0

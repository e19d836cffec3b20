"""The slot's time in a job's SQL."""

from datetime import UTC, datetime

import pytest

from scheduler.query import BoundQuery, bind, names_in

SLOT = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
LAST = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def bound(sql: str, last: datetime | None = LAST) -> BoundQuery:
    return bind(sql, scheduled_time=SLOT, last_scheduled_time=last)


def test_td_scheduled_time_is_the_slot_in_unix_seconds() -> None:
    assert bound("select TD_SCHEDULED_TIME()") == BoundQuery(
        sql="select $td_scheduled_time", parameters={"td_scheduled_time": 1795402800}
    )


def test_it_is_found_in_any_case_and_with_blanks() -> None:
    assert bound("select td_scheduled_time ( )").sql == "select $td_scheduled_time"


def test_the_slots_are_bound_as_utc_times() -> None:
    query = bound("select * from t where u > :last_scheduled_time and u <= :scheduled_time")
    assert query.sql == "select * from t where u > $last_scheduled_time and u <= $scheduled_time"
    assert query.parameters == {"scheduled_time": SLOT, "last_scheduled_time": LAST}


def test_before_the_first_success_the_last_slot_is_null() -> None:
    assert bound("select :last_scheduled_time", last=None).parameters == {"last_scheduled_time": None}


@pytest.mark.parametrize(
    "sql",
    [
        "select ':scheduled_time'",
        "select 'it''s :scheduled_time'",
        'select ":scheduled_time" from t',
        "select 1 -- :scheduled_time",
        "select 1 /* TD_SCHEDULED_TIME() \n :scheduled_time */",
        "select $$ :scheduled_time $$",
        "select $x$ :scheduled_time $x$",
        "select a::scheduled_time_type",
        "select x[1:scheduled_times]",
        "select my_td_scheduled_time()",
    ],
)
def test_strings_comments_and_look_alikes_are_left_alone(sql: str) -> None:
    assert bound(sql) == BoundQuery(sql=sql)


def test_a_jobs_own_values_are_bound_by_their_names() -> None:
    query = bind(
        "select ':region', a::region, :Region from t where r = :region and n > :n and s = :scheduled_time or :o",
        scheduled_time=SLOT,
        last_scheduled_time=None,
        params={"region": "EU'; drop table t; --", "n": 3, "unused": 1},
    )
    assert query.sql == (
        "select ':region', a::region, :Region from t where r = $region and n > $n and s = $scheduled_time or :o"
    )
    assert query.parameters == {"region": "EU'; drop table t; --", "n": 3, "scheduled_time": SLOT}


def test_the_names_in_a_query_are_those_outside_of_strings_comments_and_casts() -> None:
    assert names_in("select ':a', b::c, :d /* :e */ from f where g = :Scheduled_Time -- :h") == {"d", "Scheduled_Time"}

"""The slot's time in a job's SQL."""

from datetime import UTC, datetime

import pytest

from exporter.failures import ExportError, FailureKind
from scheduler.sql.bind import BoundQuery, bind, unused

SLOT = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
LAST = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def bound(sql: str, last: datetime | None = LAST, *, dialect: str | None = "postgres", **params: object) -> BoundQuery:
    return bind(sql, scheduled_time=SLOT, last_scheduled_time=last, params=params, dialect=dialect)


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
    query = bound("select :last_scheduled_time", last=None, dialect="sqlite")
    assert query == BoundQuery(sql="select $last_scheduled_time", parameters={"last_scheduled_time": None})
    query = bound("select :last_scheduled_time", last=None)
    assert (query.sql, query.parameters) == (
        "select CAST($last_scheduled_time AS TIMESTAMPTZ)",
        {"last_scheduled_time": None},
    )


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
        "select other.td_scheduled_time()",
        'select td_scheduled_time, "td_scheduled_time"(), td_scheduled_time(1)',
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


def test_a_name_is_unused_that_stands_only_in_strings_comments_and_casts() -> None:
    sql = "select ':a', b::c, :d /* :e */ from f where g = :Scheduled_Time -- :h"
    assert unused("abcdefgh", sql, kind="duckdb") == ["a", "b", "c", "e", "f", "g", "h"]
    assert unused(["region", "Region"], "select :region", kind="sqlite") == ["Region"]


def test_names_are_looked_for_as_the_source_reads_strings_and_where_that_is_open_in_every_way() -> None:
    for kind in ("mysql", "sqlalchemy"):
        assert unused(["a"], r"select ':a' , 'it\'s' /* :a */", kind=kind) == ["a"]
        assert unused(["a"], "select 1 # it's\n, :a", kind=kind) == []
    for kind in ("sqlite", "adbc", "treasure_data"):
        assert unused(["a"], r"select 'a\', :a, ' '", kind=kind) == []
    assert unused(["a", "b"], "select 'open :a", kind="sqlite") == ["b"]


@pytest.mark.parametrize(
    ("sql", "sent"),
    [
        ("select :a::text, (:a), f(:a,:a), 1-:a, x=:a", "select $a::text, ($a), f($a,$a), 1-$a, x=$a"),
        ("select x from t limit:a", "select x from t limit $a"),
        (
            "select [:a, 1], array[:a], x in [:a], {'k': :a, 'l':: a}",
            "select [$a, 1], array[$a], x in [$a], {'k': $a, 'l':: a}",
        ),
        ("select x[1: :a], x[(:a)], f(x)[:b]", "select x[1: $a], x[($a)], f(x)[:b]"),
        ("select x similar to :a, interval :a day", "select x similar to $a, interval $a day"),
        ("select :a\u00a0, :a😀, :a$b, :ab, :A", "select $a \u00a0, :a😀, :a$b, :ab, :A"),
        ("select x ? :a, x->>:a, @ :a, !!:a", "select x ? $a, x->>$a, @ $a, !!$a"),
    ],
)
def test_a_value_stands_where_one_can_stand(sql: str, sent: str) -> None:
    query = bound(sql, dialect="duckdb", a=5)
    assert (query.sql, query.parameters) == (sent, {"a": 5})


@pytest.mark.parametrize(
    "sql",
    [
        'select x:a, "x":a, x.y:a.b:a, f(x):a, x[1]:a from t',
        "select {'k':a, k:a, k :a}, x[1:a], x[1 :a], x[y :a], x[f(y):a]",
        "select a:=1, ::a, 'x'::a, a::a",
        "select x.limit:a",
    ],
)
def test_paths_slices_keys_aliases_and_casts_are_left_to_the_engine(sql: str) -> None:
    for dialect in ("duckdb", "snowflake", None):
        assert bound(sql, dialect=dialect, a=5) == BoundQuery(sql=sql)


def test_a_word_before_a_colon_is_a_keyword_where_an_engine_has_no_paths() -> None:
    for dialect in ("postgres", "mysql", "sqlite", "trino"):
        query = bound("select now() - interval:a day, f(x placing:a) from t", dialect=dialect, a=5)
        assert query.sql == "select now() - interval $a day, f(x placing $a) from t"
    assert bound("select x[y:a], x[y :a]", dialect="postgres", a=5).parameters == {}


def test_an_index_that_may_be_a_slice_is_refused_with_what_to_write() -> None:
    for sql in ("select x[:a]", "select f(x) [:a]"):
        for dialect in ("duckdb", "postgres", None):
            with pytest.raises(ExportError, match=r"write \[\(:a\)\] for the parameter") as caught:
                bound(sql, dialect=dialect, a=5)
            assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "QUERY_UNCLEAR")
        assert bound(sql, dialect="trino", a=5).parameters == {"a": 5}


def test_everything_else_stays_to_the_letter() -> None:
    sql = "\r\n\tselect  /*+ h */ 1 , -- x\r\n {0}  'é\u0301😀' ;; \n\n"
    assert bound(sql.format(":a"), a=1).sql == sql.format("$a")


def test_a_query_in_which_it_is_not_certain_what_is_text_is_not_bound() -> None:
    with pytest.raises(ExportError) as caught:
        bound("select :scheduled_time, 'x")
    assert caught.value.code == "QUERY_NOT_READ"
    assert bound("select 1, 'x") == BoundQuery(sql="select 1, 'x")

from datetime import datetime, timedelta, timezone

import pytest

from exporter.failures import ExportError, FailureKind
from exporter.sources.adbc.select_guard import check_select, dollar_numbers, nulls, question_marks, snowflake_values


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 as x",
        " -- first\n/* then */ (select 1) ;  ",
        "with a as (select 1 as x) select * from a",
        "select 1 as x; -- the end\n/* of it */ ;",
        "values (1)",
        "from contacts",
        "select 'a; delete from b' as x",
        'select "into", `update t set x` from t',
        "select replace(a, 'x', 'y') as r, insert_time, deleted from updates",
        "select $$ ; drop table x $$ as t",
        r"select 'it\'s; one' as x",
        r"select 'a\' as x, 'b' as y",
        "select 1 as x for update",
    ],
)
def test_a_query_that_only_reads_goes_on(sql: str) -> None:
    check_select(sql)


@pytest.mark.parametrize(
    ("sql", "code", "named"),
    [
        ("", "NOT_ONE_QUERY", "0 statements"),
        ("-- nothing", "NOT_ONE_QUERY", "0 statements"),
        ("select 1; select 2", "NOT_ONE_QUERY", "2 statements"),
        ("select 1;\n-- then\ndrop table x", "NOT_ONE_QUERY", "2 statements"),
        ("insert into a select 1", "NOT_A_SELECT", "INSERT"),
        ("selec 1", "NOT_A_SELECT", '"selec"'),
        ("vacuum t", "NOT_A_SELECT", '"vacuum"'),
        ("select * into copy_of_a from a", "QUERY_WRITES", "INTO"),
        ("with a as (select 1) insert into b select * from a", "QUERY_WRITES", "INTO"),
        ("from a insert overwrite table b select *", "QUERY_WRITES", "OVERWRITE"),
        ("with gone as (delete from a returning *) select * from gone", "QUERY_WRITES", "DELETE"),
        ("with new as (update a set x = 1 returning *) select * from new", "QUERY_WRITES", "UPDATE"),
        ("with new as (update s.a as t set x = 1 returning *) select * from new", "QUERY_WRITES", "UPDATE"),
    ],
)
def test_what_is_no_single_reading_query_is_refused_by_name(sql: str, code: str, named: str) -> None:
    with pytest.raises(ExportError, match=code) as caught:
        check_select(sql)
    assert caught.value.kind is FailureKind.CONFIGURATION
    assert named in caught.value.message


def test_parameters_in_the_two_forms_that_servers_take() -> None:
    sql, values = "select $b, $n, $a, $b, '$a' from t -- $a", {"b": 2, "n": None, "a": 1}
    assert question_marks(sql, values, nulls) == ("select ?, NULL, ?, ?, '$a' from t -- $a", [2, 1, 2])
    assert dollar_numbers(sql, values, nulls) == ("select $1, NULL, $2, $1, '$a' from t -- $a", [2, 1])


def test_snowflake_gets_times_in_a_type_with_an_offset() -> None:
    values = {"slot": datetime(2026, 11, 23, 12, tzinfo=timezone(timedelta(hours=9))), "n": 1}
    assert question_marks("select $slot, $n", values, snowflake_values) == (
        "select '2026-11-23T03:00:00.000000+00:00'::timestamp_tz, ?",
        [1],
    )

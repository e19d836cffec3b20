import re
from datetime import UTC, datetime, timedelta, timezone

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.failures import ExportError, FailureKind
from exporter.sources.treasure_data.literals import write_query

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NASTY = st.lists(
    st.sampled_from(["'", "''", "\\", "\\'", '"', "`", ";", "--", "/*", "*/", "$a", "${x}", "\n", "\t", "é😀", "a"])
)


def written(sql: str, engine: str = "trino", **parameters: object) -> str:
    return write_query(sql, parameters, engine=engine)


def fault_of(sql: str, engine: str = "trino", **parameters: object) -> ExportError:
    with pytest.raises(ExportError) as caught:
        written(sql, engine, **parameters)
    assert caught.value.kind is FailureKind.CONFIGURATION
    return caught.value


def unescaped(literal: str) -> str:
    """Read a Hive string as Hive's own parser does: only backslashes are special inside of it."""
    assert re.fullmatch(r"'(?:[^'\\]|\\.)*'", literal, re.DOTALL), literal
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), literal[1:-1])
    assert "\\" not in re.sub(r"\\u[0-9a-f]{4}", "", literal), literal
    return text


@pytest.mark.parametrize(
    ("value", "trino", "hive"),
    [
        (None, "NULL", "NULL"),
        (True, "TRUE", "TRUE"),
        (False, "FALSE", "FALSE"),
        (7, "7", "7"),
        (-7, "(-7)", "(-7)"),
        (2**63 - 1, "9223372036854775807", "9223372036854775807"),
        (2**63, "CAST('9223372036854775808' AS DECIMAL(38, 0))", "CAST('9223372036854775808' AS DECIMAL(38, 0))"),
        (1.5, "1.5E0", "1.5E0"),
        (-1e300, "(-1e+300)", "(-1e+300)"),
        ("", "''", "''"),
        ("it's", "'it''s'", r"'it\u0027s'"),
        ('say "x" \\ `y`;', "'say \"x\" \\ `y`;'", r"'say \u0022x\u0022 \u005c \u0060y\u0060\u003b'"),
        ("a\nb\tc\r", "'a\nb\tc\r'", r"'a\u000ab\u0009c\u000d'"),
        ("${hiveconf:x}", "'${hiveconf:x}'", r"'\u0024{hiveconf:x}'"),
        ("naïve 東京 😀", "'naïve 東京 😀'", "'naïve 東京 😀'"),
        (
            datetime(2026, 11, 23, 3, tzinfo=UTC),
            "TIMESTAMP '2026-11-23 03:00:00 UTC'",
            "CAST('2026-11-23 03:00:00' AS TIMESTAMP)",
        ),
        (
            datetime(2026, 11, 23, 3, 0, 0, 250, tzinfo=timezone(timedelta(hours=9))),
            "TIMESTAMP '2026-11-22 18:00:00.000250 UTC'",
            "CAST('2026-11-22 18:00:00.000250' AS TIMESTAMP)",
        ),
    ],
)
def test_each_value_has_its_literal_in_each_engine(value: object, trino: str, hive: str) -> None:
    assert written("select $v", "trino", v=value) == f"select {trino}"
    assert written("select $v", "presto", v=value) == f"select {trino}"
    assert written("select $v", "hive", v=value) == f"select {hive}"


@settings(deadline=None)
@given(text=TEXT | NASTY.map("".join))
def test_a_text_comes_back_from_an_engine_with_standard_strings_as_it_was(text: str) -> None:
    assert duckdb.execute(written("select $v, 1", v=text)).fetchone() == (text, 1)


@settings(deadline=None)
@given(text=TEXT | NASTY.map("".join))
def test_a_text_comes_back_from_hive_as_it_was_and_without_what_its_client_acts_on(text: str) -> None:
    literal = written("select $v", "hive", v=text).removeprefix("select ")
    assert unescaped(literal) == text
    assert not set(literal[1:-1]) & set("'\"`;$\n\r")


@settings(deadline=None)
@given(number=st.integers(-(10**37), 10**37) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_as_it_was(number: float) -> None:
    (found,) = duckdb.execute(written("select 1 -$v as x, $v as y", v=number)).fetchall()
    assert found[1] == number


@pytest.mark.parametrize(
    "sql",
    [
        "select '$a' from t",
        "select 'it''s $a' from t",
        'select "$a" from t',
        "select 1 -- $a\nfrom t",
        "select 1 /* $a ; */ from t",
        "select x$a, $1 from t",
    ],
)
def test_what_is_no_parameter_is_left_alone(sql: str) -> None:
    assert written(sql, a="x") == sql


@pytest.mark.parametrize("sql", [r"select 'a\\' , \"$a\"", r'select "it\"s -- x", `$a`', "select `a``$a`"])
def test_hive_s_own_quotes_are_known(sql: str) -> None:
    sql = sql.replace('\\"$a\\"', '"$a"')
    assert written(sql, "hive", a="x") == sql


def test_a_backslash_ends_no_string_of_trino_and_begins_an_escape_in_hive() -> None:
    assert written(r"select 'a\', $a", a=1) == r"select 'a\', 1"
    assert written(r"select 'a\', $a'", "hive", b=1) == r"select 'a\', $a'"


def test_an_escaped_quote_of_hive_ends_no_string() -> None:
    assert written(r"select 'it\'s $a', $a", "hive", a=1) == r"select 'it\'s $a', 1"


def test_a_literal_never_joins_the_string_or_the_prefix_that_it_stands_beside() -> None:
    assert written("select 'a'$v'b', U&$v", v="x'y") == "select 'a' 'x''y' 'b', U& 'x''y'"


def test_a_parameter_stands_for_its_value_as_often_as_it_occurs() -> None:
    assert written("select $a, $b, $a from t where x = $b", a=1, b="z") == "select 1, 'z', 1 from t where x = 'z'"


def test_a_value_with_the_name_of_another_parameter_is_not_looked_at_again() -> None:
    assert written("select $a, $b", a="$b", b="$a") == "select '$b', '$a'"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (10**38, "38 digits"),
        (float("inf"), "finite"),
        (float("nan"), "finite"),
        ("a\0b", "NUL"),
        ("\ud800", "half"),
        (b"x", "bytes"),
    ],
)
def test_a_value_without_a_literal_is_named(value: object, says: str) -> None:
    fault = fault_of("select $wanted", wanted=value)
    assert fault.code == "PARAMETER_NOT_SUPPORTED"
    assert "wanted" in fault.message
    assert says in fault.message


@pytest.mark.parametrize(
    ("sql", "engine", "code"),
    [
        ("", "trino", "NOT_ONE_QUERY"),
        (" ; ; -- x", "trino", "NOT_ONE_QUERY"),
        ("select 1; select 2", "trino", "NOT_ONE_QUERY"),
        ("select 1; /* x */ delete from t", "trino", "NOT_ONE_QUERY"),
        ("insert into t select 1", "trino", "NOT_A_SELECT"),
        ("/* select */ drop table t", "trino", "NOT_A_SELECT"),
        ("explain select 1", "trino", "NOT_A_SELECT"),
        ("from t select 1", "trino", "NOT_A_SELECT"),
        ("'select'", "trino", "NOT_A_SELECT"),
        ("?", "trino", "NOT_A_SELECT"),
        ("from t insert overwrite table u select *", "hive", "QUERY_WRITES"),
        ("with x as (select 1) insert into t select * from x", "hive", "QUERY_WRITES"),
        ("values (1)", "hive", "NOT_A_SELECT"),
    ],
)
def test_only_one_select_is_sent(sql: str, engine: str, code: str) -> None:
    assert fault_of(sql, engine).code == code


@pytest.mark.parametrize(
    ("sql", "engine", "sent"),
    [
        ("select ';' as x;", "trino", "select ';' as x"),
        ("select 1 -- ; end\n;\n", "trino", "select 1 -- ; end\n"),
        (
            "-- @TD hint: x\nwith x as (select 1) select * from x",
            "trino",
            "-- @TD hint: x\nwith x as (select 1) select * from x",
        ),
        ("(select 1)", "trino", "(select 1)"),
        ("select `insert` from t", "hive", "select `insert` from t"),
        ("from t select 'insert'", "hive", "from t select 'insert'"),
    ],
)
def test_a_select_is_sent_as_it_was_without_a_last_semicolon(sql: str, engine: str, sent: str) -> None:
    assert written(sql, engine) == sent

import math
from datetime import UTC, date, datetime, timedelta, timezone

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.failures import ExportError, FailureKind
from exporter.sources.adbc.literals import PROBE, Quoting, doubtful, echo, literal, odd_texts, paste, quoting_of, used

WHOLE = st.integers(min_value=-(2**63), max_value=2**63 - 1)
PRINTABLE = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def answer(sql: str) -> tuple[object, ...]:
    """Return the one row of a query from an engine that reads text as the SQL standard has it."""
    with duckdb.connect() as engine:
        (row,) = engine.execute(sql).fetchall()
    return tuple(row)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (False, "FALSE"),
        (7, "7"),
        (-7, "(-7)"),
        (-(2**63), "(-9223372036854775807 - 1)"),
        (0.1, "0.1e0"),
        (-1e300, "(-1e+300)"),
        (datetime(2026, 11, 23, 3, 4, 5, 6, tzinfo=UTC), "TIMESTAMP '2026-11-23 03:04:05.000006+00:00'"),
        (
            datetime(2026, 11, 23, 3, tzinfo=timezone(timedelta(hours=9))),
            "TIMESTAMP '2026-11-22 18:00:00.000000+00:00'",
        ),
        (date(2026, 11, 23), "DATE '2026-11-23'"),
        ("EU west-1, 50% (a/b)", "'EU west-1, 50% (a/b)'"),
        ("Grüße", "'Grüße'"),
    ],
)
def test_a_value_is_written_the_same_for_every_server(value: object, text: str) -> None:
    assert literal("p", value, None) == text


@pytest.mark.parametrize(
    "value",
    [2**63, -(2**63) - 1, math.nan, math.inf, datetime(2026, 1, 1), b"x", "it's", "a\\b", "a\nb", "${x}", "\0"],  # noqa: DTZ001 - it has no zone
)
def test_a_value_without_a_certain_form_is_refused_and_not_shown(value: object) -> None:
    with pytest.raises(ExportError, match="PARAMETER_NOT_SUPPORTED") as caught:
        literal("region", value, None)
    assert caught.value.kind is FailureKind.CONFIGURATION
    assert "$region" in caught.value.message
    assert str(value) not in caught.value.message or str(value) in "\n\0"


@settings(deadline=None)  # it asks an engine
@given(WHOLE | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.dates() | st.none())
def test_a_real_engine_reads_numbers_and_dates_back(value: object) -> None:
    assert answer(f"select {literal('p', value, None)} as x") == (value,)


@settings(deadline=None)
@given(PRINTABLE)
def test_a_real_engine_reads_any_text_back(value: str) -> None:
    assert answer(f"select {literal('p', value, Quoting.DOUBLED)} as x") == (value,)


@given(st.text(alphabet="'\\\"`a -;"))
def test_text_with_escapes_never_ends_before_its_end(value: str) -> None:
    text = literal("p", value, Quoting.BACKSLASH)
    at, read = 1, ""
    while text[at] != "'":  # read as such a server does
        at += text[at] == "\\"
        read += text[at]
        at += 1
    assert (read, at) == (value, len(text) - 1)


@given(st.text(alphabet="'\\\"`a -;\n$", min_size=1))
def test_only_text_that_means_the_same_everywhere_needs_no_look_at_the_server(value: str) -> None:
    assert (odd_texts([value]) == []) == (not set(value) & set("'\\\"`\n$"))


def test_signs_never_meet_in_a_comment() -> None:
    sql = "select 1 -$n as x"
    assert answer(paste(sql, {"n": -2}, None)) == (3,)


def test_a_server_shows_how_it_reads_text() -> None:
    assert quoting_of(answer(PROBE)) is Quoting.DOUBLED
    assert quoting_of(["a\\b", "ab"]) is Quoting.BACKSLASH
    assert quoting_of(["a\\\\b", "ab"]) is None
    assert quoting_of([]) is None
    assert answer(echo(["it's", "a\\b"], Quoting.DOUBLED)) == ("it's", "a\\b")


def test_times_and_odd_texts_are_asked_back() -> None:
    slot = datetime(2026, 11, 23, 3, tzinfo=UTC)
    assert doubtful([1, "plain", "it's", None, slot]) == ["it's", slot]
    assert echo([slot], None) == "select TIMESTAMP '2026-11-23 03:00:00.000000+00:00' as t0"


def test_only_the_values_that_a_query_names_are_written() -> None:
    sql = "select $b, '$a', $b, $c from t -- $a"
    values = used(sql, {"a": 1, "b": 2, "c": "x"})
    assert values == {"b": 2, "c": "x"}
    assert paste(sql, values, None) == "select 2, '$a', 2, 'x' from t -- $a"
    with pytest.raises(ExportError, match="UNKNOWN_PARAMETER"):
        used(sql, {"b": 2})


def test_a_query_with_an_escaped_quote_of_its_own_takes_no_literals() -> None:
    with pytest.raises(ExportError, match="PARAMETER_NOT_SUPPORTED"):
        paste(r"select 'it\'s $a' as x, $a as y", {"a": "x"}, None)

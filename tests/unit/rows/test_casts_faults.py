import datetime as dt
import math

import pyarrow as pa
import pytest

from exporter.rows.casts import TextCast, TextRules, numeral, salesforce_rules


def faults(column: pa.Array, rules: TextRules | None = None) -> dict[int, str]:
    """Return the codes of the faults of one column by row index."""
    batch = pa.record_batch({"c": column})
    cast = TextCast(batch.schema, rules or salesforce_rules()).apply(batch)
    assert cast.batch.num_rows == len(column)
    return {fault.index: fault.code for fault in cast.faults}


def from_numbers(numbers: list[int], kind: pa.DataType) -> pa.Array:
    width = pa.int32() if kind == pa.date32() or pa.types.is_time32(kind) else pa.int64()
    return pa.array(numbers, width).cast(kind)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_what_is_not_a_number_is_refused(kind: pa.DataType) -> None:
    column = pa.array([1.0, math.nan, math.inf, -math.inf, None], kind)
    assert faults(column) == dict.fromkeys((1, 2, 3), "NOT_A_NUMBER")


def test_what_is_not_a_number_is_refused_where_numbers_come_as_text() -> None:
    schema = pa.schema([numeral("c"), pa.field("t", pa.string())])
    cells = ["1.50", "NaN", "Infinity", "-Infinity", None]
    text = TextCast(schema, salesforce_rules()).apply(pa.record_batch([cells, cells], schema=schema))
    assert {fault.index: fault.code for fault in text.faults} == dict.fromkeys((1, 2, 3), "NOT_A_NUMBER")
    assert all('"c"' in fault.message for fault in text.faults)


def test_text_that_salesforce_would_misread_or_cannot_take_is_refused() -> None:
    column = pa.array(["fine", "#N/A", "a\0b", "x" * 131_072, "x" * 131_073, None, "#n/a", " #N/A", "é" * 131_072])
    assert faults(column) == {1: "NULL_MARKER", 2: "NUL_CHARACTER", 4: "STRING_TOO_LONG"}
    assert faults(column, TextRules()) == {}


def test_a_nul_in_a_neighbouring_slice_is_none_of_ours() -> None:
    column = pa.array(["a\0b", "c", "d"]).slice(1)
    assert faults(column) == {}


def test_the_marker_is_refused_in_a_dictionary_too() -> None:
    assert faults(pa.array(["a", "#N/A", "a"]).dictionary_encode()) == {1: "NULL_MARKER"}


def test_binary_that_is_too_long_as_base64_is_refused() -> None:
    assert faults(pa.array([b"x" * 98_304, b"x" * 98_305])) == {1: "STRING_TOO_LONG"}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_infinite_timestamps_are_refused(unit: str) -> None:
    kind = pa.timestamp(unit, "UTC")
    numbers = [0, 2**63 - 1, -(2**63) + 1]
    expected = {} if unit == "ns" else dict.fromkeys((1, 2), "VALUE_OUT_OF_RANGE")
    # The whole of a nanosecond timestamp is 1677 to 2262: only its lower end is too early for Salesforce.
    assert faults(from_numbers(numbers, kind)) == (expected or {2: "VALUE_OUT_OF_RANGE"})


def test_dates_that_salesforce_does_not_know_are_refused() -> None:
    dates = [dt.date(1699, 12, 30), dt.date(1699, 12, 31), dt.date(4000, 12, 31), dt.date(4001, 1, 1), None]
    assert faults(pa.array(dates)) == dict.fromkeys((0, 1, 3), "VALUE_OUT_OF_RANGE")
    moments = [dt.datetime.combine(day, dt.time.max, dt.UTC) for day in dates if day]
    assert faults(pa.array(moments, pa.timestamp("us", "UTC"))) == dict.fromkeys((0, 3), "VALUE_OUT_OF_RANGE")
    assert faults(from_numbers([2**31 - 1, -(2**31)], pa.date32())) == dict.fromkeys((0, 1), "VALUE_OUT_OF_RANGE")


def test_a_file_takes_all_dates_of_four_digits() -> None:
    moments = [dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)]
    for unit in ("s", "ms", "us"):
        column = pa.array(moments, pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, "UTC"), safe=False)
        assert faults(column, TextRules()) == {}
    assert faults(pa.array([dt.date.min, dt.date.max]), TextRules()) == {}
    assert faults(from_numbers([2**31 - 1], pa.date32()), TextRules()) == {0: "VALUE_OUT_OF_RANGE"}


def test_24_hours_are_no_time_of_day() -> None:
    assert faults(from_numbers([0, 86_400_000_000], pa.time64("us"))) == {1: "VALUE_OUT_OF_RANGE"}


def test_a_local_time_that_the_clock_skipped_is_refused() -> None:
    column = pa.array([dt.datetime(2026, 3, 8, 1, 59), dt.datetime(2026, 3, 8, 2, 30)], pa.timestamp("us"))  # noqa: DTZ001 - it has none
    rules = salesforce_rules(naive_timezone="America/New_York")
    assert faults(column, rules) == {1: "NO_SUCH_LOCAL_TIME"}
    infinite = from_numbers([0, 2**63 - 1], pa.timestamp("us"))
    assert faults(infinite, rules) == {1: "VALUE_OUT_OF_RANGE"}


def test_a_record_of_more_than_400000_characters_is_refused() -> None:
    half, third = ["é" * 131_072, "y" * 131_072], ["z" * 131_072, "z" * 131_072]
    batch = pa.record_batch({"a": half, "b": third, "c": third, "d": ["w" * 6_784, "w" * 6_785]})
    cast = TextCast(batch.schema, salesforce_rules()).apply(batch)
    assert [(fault.index, fault.code) for fault in cast.faults] == [(1, "RECORD_TOO_LONG")]


def test_a_row_has_one_fault_that_names_the_first_bad_column_and_no_value() -> None:
    batch = pa.record_batch({"first": [1.0, math.nan], "second": ["ok", "secret\0"]})
    (fault,) = TextCast(batch.schema, salesforce_rules()).apply(batch).faults
    assert (fault.index, fault.code) == (1, "NOT_A_NUMBER")
    assert fault.message == 'column "first" is NaN or infinite, which has no text'

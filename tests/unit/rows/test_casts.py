import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.failures import ExportError, FailureKind
from exporter.rows.casts import NULLS, TextCast, TextRules, salesforce_rules


def texts(column: pa.Array, rules: TextRules | None = None) -> list[str]:
    """Cast one column, which must have no faults."""
    batch = pa.record_batch({"c": column})
    cast = TextCast(batch.schema, rules or salesforce_rules()).apply(batch)
    assert cast.faults == ()
    assert cast.batch.column("c").null_count == 0
    return cast.batch.column("c").to_pylist()


def instants(*values: dt.datetime) -> pa.Array:
    return pa.array(values, pa.timestamp("us", "UTC"))


UTC = dt.UTC


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([-5, None, 0], pa.int8()), ["-5", "", "0"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([True, False, None]), ["true", "false", ""]),
        (pa.nulls(2), ["", ""]),
        (pa.array(["a", None, ""]), ["a", "", ""]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array(["a"], pa.string_view()), ["a"]),
        (pa.array(["x", "y", "x", None]).dictionary_encode(), ["x", "y", "x", ""]),
        (pa.array([b"\x00\xff", b"", None], pa.binary()), ["AP8=", "", ""]),
        (pa.array([b"ab"], pa.binary(2)), ["YWI="]),
        (pa.array([uuid.UUID(int=1).bytes, None], pa.binary(16)).cast(pa.uuid()), [str(uuid.UUID(int=1)), ""]),
        (pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}'])), ['{"a": 1}']),
    ],
)
def test_plain_types_have_their_plain_text(column: pa.Array, expected: list[str]) -> None:
    assert texts(column) == expected


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.decimal128(18, 2), ["1.50", "-0.01", "0.00"], ["1.50", "-0.01", "0.00"]),
        (pa.decimal128(38, 10), ["0E-10", "0.0000000001", "12.5"], ["0.0000000000", "0.0000000001", "12.5000000000"]),
        (pa.decimal128(38, 38), ["1E-38"], ["0." + "0" * 37 + "1"]),
        (pa.decimal128(10, -2), ["1200", "-100"], ["1200", "-100"]),
        (pa.decimal256(76, 60), ["-1E-60"], ["-0." + "0" * 59 + "1"]),
        (pa.decimal128(38, 0), ["9" * 38], ["9" * 38]),
        (pa.decimal32(5, 5), ["0.00001"], ["0.00001"]),
    ],
)
def test_decimals_keep_every_digit_and_have_no_exponent(
    kind: pa.DataType, values: list[str], expected: list[str]
) -> None:
    assert texts(pa.array([Decimal(value) for value in values], kind)) == expected


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (pa.float64(), 0.1, "0.1"),
        (pa.float64(), 100.0, "100"),
        (pa.float64(), 1e20, "1" + "0" * 20),
        (pa.float64(), 1e-7, "0.0000001"),
        (pa.float64(), 1 / 3, "0.3333333333333333"),
        (pa.float64(), -2.5e-10, "-0.00000000025"),
        (pa.float32(), 0.1, "0.1"),
        (pa.float16(), 3.5, "3.5"),
    ],
)
def test_floats_are_the_shortest_digits_without_exponent(kind: pa.DataType, value: float, expected: str) -> None:
    assert texts(pa.array([value, None], kind)) == [expected, ""]


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_every_float_reads_back_as_itself(values: list[float | None]) -> None:
    written = texts(pa.array(values, pa.float64()))
    assert [float(text) if text else None for text in written] == values
    assert not any("e" in text.lower() for text in written)


@given(st.lists(st.decimals(-(10**27), 10**27, places=10), min_size=1))
def test_every_decimal_reads_back_as_itself(values: list[Decimal]) -> None:
    written = texts(pa.array(values, pa.decimal128(38, 10)))
    assert [Decimal(text) for text in written] == values


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_timestamp_is_in_utc_with_three_digits_of_a_second(unit: str) -> None:
    value = dt.datetime(2026, 11, 23, 3, 4, 5, tzinfo=UTC)
    for zone in ("UTC", "America/New_York", "+09:00"):
        assert texts(pa.array([value, None], pa.timestamp(unit, zone))) == ["2026-11-23T03:04:05.000Z", ""]


def test_a_timestamp_is_cut_to_milliseconds_towards_the_past() -> None:
    late = dt.datetime(2026, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC)
    early = dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert texts(instants(late, early)) == ["2026-01-01T00:00:00.999Z", "1969-12-31T23:59:59.999Z"]
    nanoseconds = pa.array([-1], pa.int64()).cast(pa.timestamp("ns", "UTC"))
    assert texts(nanoseconds) == ["1969-12-31T23:59:59.999Z"]


@given(st.lists(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(4000, 12, 31)), min_size=1))  # noqa: DTZ001 - hypothesis takes naive bounds
def test_every_timestamp_reads_back_to_the_millisecond(values: list[dt.datetime]) -> None:
    written = texts(pa.array(values, pa.timestamp("us")))
    read = [dt.datetime.fromisoformat(text).replace(tzinfo=None) for text in written]
    assert read == [value.replace(microsecond=value.microsecond // 1000 * 1000) for value in values]


def test_a_timestamp_without_zone_is_read_in_the_stated_zone() -> None:
    column = pa.array([dt.datetime(2026, 7, 1, 12), dt.datetime(2026, 11, 1, 1, 30)], pa.timestamp("us"))  # noqa: DTZ001 - it has none
    assert texts(column) == ["2026-07-01T12:00:00.000Z", "2026-11-01T01:30:00.000Z"]
    rules = salesforce_rules(naive_timezone="America/New_York")
    # 01:30 comes twice on 2026-11-01; the first of the two counts.
    assert texts(column, rules) == ["2026-07-01T16:00:00.000Z", "2026-11-01T05:30:00.000Z"]


def test_dates_and_times_have_iso_forms() -> None:
    assert texts(pa.array([dt.date(2020, 2, 29), None])) == ["2020-02-29", ""]
    assert texts(pa.array([dt.date(2020, 2, 29)], pa.date64())) == ["2020-02-29"]
    time = dt.time(10, 0, 0, 123_999)
    assert texts(pa.array([time, None], pa.time64("us"))) == ["10:00:00.123Z", ""]
    assert texts(pa.array([dt.time(23, 59, 59)], pa.time32("s"))) == ["23:59:59.000Z"]
    assert texts(pa.array([dt.time(23, 59, 59)], pa.time64("ns"))) == ["23:59:59.000Z"]


def test_nulls_are_sent_as_the_rules_say() -> None:
    column = pa.array([1, None])
    assert texts(column, salesforce_rules(nulls="clear")) == ["1", "#N/A"]
    assert texts(pa.array(["", None]), salesforce_rules(nulls="clear")) == ["", "#N/A"]
    assert texts(column, salesforce_rules(nulls="ignore")) == ["1", ""]


@pytest.mark.parametrize("text", ["a,b", 'say "hi"', "\r", "\n", "\r\n", "\u2028", "😀", " padded ", "x" * 131_072])
def test_odd_text_passes_unchanged(text: str) -> None:
    assert texts(pa.array([text])) == [text]


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (pa.list_(pa.int32()), "array_to_string"),
        (pa.map_(pa.string(), pa.int32()), "to_json"),
        (pa.struct([("a", pa.int32())]), "fields one by one"),
        (pa.month_day_nano_interval(), "cast it to VARCHAR"),
        (pa.duration("s"), "cast it to VARCHAR"),
        (pa.dictionary(pa.int8(), pa.duration("s")), "cast it to VARCHAR"),
        (pa.opaque(pa.binary(), "bignum", "DuckDB"), "cast it to VARCHAR"),
    ],
)
def test_a_type_without_text_is_a_configuration_fault_that_names_column_and_cure(kind: Any, advice: str) -> None:
    with pytest.raises(ExportError, match="TYPE_NOT_SUPPORTED") as caught:
        TextCast(pa.schema([("Tags__c", kind)]), salesforce_rules())
    assert caught.value.kind is FailureKind.CONFIGURATION
    assert '"Tags__c"' in caught.value.message
    assert advice in caught.value.message


def test_timestamps_without_zone_need_a_stated_one() -> None:
    schema = pa.schema([("At__c", pa.timestamp("us"))])
    with pytest.raises(ExportError, match='"At__c" is a timestamp without a time zone'):
        TextCast(schema, salesforce_rules(naive_timezone=None))
    for wrong in ("Mars/Base", "../etc", ""):
        with pytest.raises(ExportError, match="NO_TIMEZONE"):
            TextCast(schema, salesforce_rules(naive_timezone=wrong))


def test_a_column_may_say_of_itself_what_its_nulls_do() -> None:
    fields = [
        pa.field("a", pa.string()),
        *(pa.field(n, pa.int8(), metadata={NULLS: n.encode()}) for n in ("ignore", "clear")),
    ]
    batch = pa.RecordBatch.from_arrays([pa.nulls(1, field.type) for field in fields], schema=pa.schema(fields))
    texts = {
        nulls: TextCast(batch.schema, salesforce_rules(nulls=nulls)).apply(batch).batch.to_pylist()
        for nulls in ("ignore", "clear")
    }
    assert texts == {
        "ignore": [{"a": "", "ignore": "", "clear": "#N/A"}],
        "clear": [{"a": "#N/A", "ignore": "", "clear": "#N/A"}],
    }

import gzip
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgpack
import pyarrow as pa
import pytest

from exporter.failures import ExportError, FailureKind
from exporter.rows.casts import TextCast, salesforce_rules
from exporter.sources.treasure_data.result_rows import read_batches, result_columns, result_schema


def zipped(content: bytes) -> bytes:
    """Pack without the time of day, so that every process that collects these tests gives them the same names."""
    return gzip.compress(content, mtime=0)


def packed(rows: Sequence[Any]) -> bytes:
    return zipped(b"".join(msgpack.packb(row) for row in rows))


def read(content: bytes, described: list[list[str]], *, records: int | None = None) -> list[dict[str, Any]]:
    columns = result_columns(described)
    batches = read_batches(io.BytesIO(content), columns, records=records, batch_rows=2)
    return pa.Table.from_batches(batches, result_schema(columns)).to_pylist()


def value_of(kind: str, sent: object) -> Any:
    ((value,),) = [row.values() for row in read(packed([[sent]]), [["x", kind]])]
    return value


@pytest.mark.parametrize(
    ("kind", "sent", "got"),
    [
        ("bigint", 2**63 - 1, 2**63 - 1),
        ("bigint", "-5", -5),
        ("INTEGER", 5, 5),
        ("int", 5, 5),
        ("smallint", -5, -5),
        ("tinyint", 5, 5),
        ("double", 0.1, 0.1),
        ("double", 1, 1.0),
        ("double", "Infinity", float("inf")),
        ("real", 0.5, 0.5),
        ("boolean", True, True),
        ("boolean", "false", False),
        ("varchar", "naïve 😀", "naïve 😀"),
        ("varchar(10)", "", ""),
        ("string", "x", "x"),
        ("decimal(10,2)", "12345678.90", Decimal("12345678.90")),
        ("decimal(38, 0)", "9" * 38, Decimal("9" * 38)),
        ("decimal(10,2)", 0.1, Decimal("0.10")),
        ("decimal(5)", "12345", Decimal(12345)),
        ("decimal", "1.25", "1.25"),
        ("date", "2026-11-23", date(2026, 11, 23)),
        ("timestamp", "2026-11-23 03:04:05.678", datetime(2026, 11, 23, 3, 4, 5, 678000)),  # noqa: DTZ001 - it has no zone
        ("timestamp(6)", "2026-11-23 03:04:05.000001", datetime(2026, 11, 23, 3, 4, 5, 1)),  # noqa: DTZ001 - nor this
        ("timestamp", "2026-11-23 03:04:05", datetime(2026, 11, 23, 3, 4, 5)),  # noqa: DTZ001 - nor this
        ("timestamp(9)", "2026-11-23 03:04:05.123456789", "2026-11-23 03:04:05.123456789"),
        ("timestamp with time zone", "2026-11-23 03:04:05.000 UTC", datetime(2026, 11, 23, 3, 4, 5, tzinfo=UTC)),
        (
            "timestamp(3) with time zone",
            "2026-11-23 03:04:05.000 Asia/Tokyo",
            datetime(2026, 11, 22, 18, 4, 5, tzinfo=UTC),
        ),
        ("timestamp(3) with time zone", "2026-11-23 03:04:05.000 -05:30", datetime(2026, 11, 23, 8, 34, 5, tzinfo=UTC)),
        ("time", "03:04:05.000", "03:04:05.000"),
        ("interval day to second", "1 00:00:00.000", "1 00:00:00.000"),
        ("array(bigint)", [1, None, 3], "[1, null, 3]"),
        ("array<string>", ["é"], '["é"]'),
        ("array(bigint)", "[1,2]", "[1,2]"),
        ("map(varchar,bigint)", {"a": 1}, '{"a": 1}'),
        ("map<bigint,string>", {1: "a"}, '{"1": "a"}'),
        ("row(a bigint)", [1], "[1]"),
        ("json", '{"a": 1}', '{"a": 1}'),
        ("varbinary", b"\x00\xff", "AP8="),
        ("unknown", True, "true"),
    ],
)
def test_each_type_keeps_its_values_and_null(kind: str, sent: object, got: object) -> None:
    assert value_of(kind, sent) == got
    assert value_of(kind, None) is None


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("bigint", 2**63),
        ("bigint", 1.5),
        ("bigint", True),
        ("tinyint", 200),
        ("double", "much"),
        ("double", True),
        ("boolean", 1),
        ("boolean", "yes"),
        ("decimal(5,2)", "1234.56"),
        ("decimal(5,2)", "1.234"),
        ("decimal(5,2)", "many"),
        ("date", "23.11.2026"),
        ("timestamp", "yesterday"),
        ("timestamp", "2026-11-23 03:04:05 UTC"),
        ("timestamp", "2026-11-23 03:04:05.1234567"),
        ("timestamp with time zone", "2026-11-23 03:04:05 Mars/Base"),
    ],
)
def test_a_value_that_is_none_of_its_type_is_a_fault_that_names_the_column_alone(kind: str, sent: object) -> None:
    with pytest.raises(ExportError) as caught:
        value_of(kind, sent)
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "VALUE_NOT_SUPPORTED")
    assert '"x"' in caught.value.message
    assert str(sent) not in caught.value.message


def test_a_number_that_is_none_in_a_list_rejects_its_row() -> None:
    columns = result_columns([["x", "array(double)"]])
    content = packed([[[1.5, float("nan")]], [[2.5]]])
    [batch] = read_batches(io.BytesIO(content), columns, records=2, batch_rows=10)
    text = TextCast(batch.schema, salesforce_rules()).apply(batch)
    assert [(fault.index, fault.code) for fault in text.faults] == [(0, "NOT_A_NUMBER")]
    assert text.batch.to_pylist()[1] == {"x": "[2.5]"}


def test_rows_come_in_batches_and_an_empty_result_has_its_columns() -> None:
    columns = result_columns([["n", "bigint"], ["name", "varchar"]])
    content = packed([[n, f"n{n}"] for n in range(5)])
    batches = list(read_batches(io.BytesIO(content), columns, records=5, batch_rows=2))
    assert [batch.num_rows for batch in batches] == [2, 2, 1]
    assert read(packed([]), [["n", "bigint"]], records=0) == []
    assert read(b"", [["n", "bigint"]]) == []
    assert result_columns(None) == []


@pytest.mark.parametrize(
    ("content", "records"),
    [
        (packed([[1], [2], [3]])[:-12], None),
        (zipped(msgpack.packb([1]) + msgpack.packb(["long text"])[:-3]), None),
        (packed([[1], [2]]), 3),
        (b"<html>busy</html>", None),
        (zipped(b"\xc1"), None),
    ],
    ids=["cut off", "ends in a row", "a row too few", "no gzip", "no msgpack"],
)
def test_a_result_that_is_not_whole_is_told_and_may_pass(content: bytes, records: int | None) -> None:
    with pytest.raises(ExportError) as caught:
        read(content, [["x", "varchar"]], records=records)
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "RESULT_INCOMPLETE")


@pytest.mark.parametrize("row", [[1, 2], [], {"x": 1}, 7])
def test_a_row_that_does_not_fit_its_columns_is_no_guess(row: object) -> None:
    with pytest.raises(ExportError, match="UNREADABLE_ANSWER"):
        read(packed([row]), [["x", "bigint"]])


def test_a_schema_of_another_form_is_no_guess() -> None:
    with pytest.raises(ExportError, match="UNREADABLE_ANSWER"):
        result_columns(["bigint"])


def test_a_text_that_is_not_utf_8_is_configuration() -> None:
    content = zipped(b"\x91\xa2\xff\xfe")
    with pytest.raises(ExportError, match="NOT_UTF8") as caught:
        read(content, [["x", "varchar"]])
    assert caught.value.kind is FailureKind.CONFIGURATION

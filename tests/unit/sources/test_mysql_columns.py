"""How MySQL's columns and values come, by value; a real server says the same in tests/contract/source/test_mysql.py."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pymysql
import pytest
from pymysql.constants import FIELD_TYPE as KIND
from pymysql.constants import FLAG

from exporter.failures import ExportError, FailureKind
from exporter.sources.mysql.columns import ServerColumn, arrow_batch, arrow_schema
from exporter.sources.mysql.errors import mysql_fault

UNSIGNED, UTF8 = FLAG.UNSIGNED, 45


def column(kind: int, **others: int) -> ServerColumn:
    return ServerColumn(name="it", type=kind, **others)


def value_of(which: ServerColumn, *written: bytes | None) -> list[Any]:
    schema = arrow_schema([which])
    return list(arrow_batch([(each,) for each in written], [which], schema).column(0).to_pylist())


@pytest.mark.parametrize(
    ("which", "arrow", "written", "value"),
    [
        (column(KIND.TINY, length=1), pa.int8(), b"-128", -128),
        (column(KIND.TINY, flags=UNSIGNED), pa.uint8(), b"255", 255),
        (column(KIND.LONGLONG, flags=UNSIGNED), pa.uint64(), b"18446744073709551615", 2**64 - 1),
        (column(KIND.NEWDECIMAL, length=12, scale=2), pa.decimal128(38, 2), b"-0.10", Decimal("-0.10")),
        (column(KIND.NEWDECIMAL, length=40, scale=0), pa.decimal256(76, 0), b"9" * 39, Decimal("9" * 39)),
        (column(KIND.DOUBLE), pa.float64(), b"1e-320", 1e-320),
        (column(KIND.BIT, flags=UNSIGNED), pa.uint64(), b"1", 49),
        (column(KIND.DATE), pa.date32(), b"0001-01-01", date(1, 1, 1)),
        (column(KIND.TIME), pa.time64("us"), b"00:00:00.5", time(0, 0, 0, 500000)),
        (column(KIND.DATETIME), pa.timestamp("us"), b"9999-12-31 23:59:59.999999", datetime.max),  # noqa: DTZ901 - it has no zone
        (
            column(KIND.TIMESTAMP),
            pa.timestamp("us", "UTC"),
            b"1970-01-01 00:00:01",
            datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        ),
        (column(KIND.VAR_STRING, charset=UTF8), pa.string(), "ü😀".encode(), "ü😀"),
        (column(KIND.BLOB), pa.binary(), b"\xff", b"\xff"),
        (column(KIND.BLOB, charset=UTF8), pa.string(), b"", ""),
        (column(KIND.JSON), pa.string(), b"[1.10]", "[1.10]"),
    ],
)
def test_a_column_has_the_type_of_its_values(
    which: ServerColumn, arrow: pa.DataType, written: bytes, value: object
) -> None:
    assert arrow_schema([which]).field("it").type == arrow
    assert value_of(which, written, None) == [value, None]


@pytest.mark.parametrize(
    ("which", "written", "code", "words"),
    [
        (column(KIND.DATE), b"0000-00-00", "VALUE_NOT_SUPPORTED", "NULLIF"),
        (column(KIND.DATETIME), b"2026-02-00 00:00:00", "VALUE_NOT_SUPPORTED", "NULLIF"),
        (column(KIND.TIME), b"-838:59:59", "VALUE_NOT_SUPPORTED", "cast the column to CHAR"),
        (column(KIND.NEWDECIMAL, length=12, scale=2), b"0.105", "VALUE_NOT_SUPPORTED", "cast the column to CHAR"),
        (column(KIND.VAR_STRING, charset=UTF8), b"\xff", "NOT_UTF8", "BINARY"),
    ],
)
def test_a_value_that_has_no_form_here_is_configuration_and_not_shown(
    which: ServerColumn, written: bytes, code: str, words: str
) -> None:
    with pytest.raises(ExportError, match='"it"') as caught:
        value_of(which, written)
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, code)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("error", "kind", "code", "shown"),
    [
        (pymysql.err.OperationalError(1213, "Deadlock found"), FailureKind.TRANSIENT, "ER_LOCK_DEADLOCK", "Deadlock"),
        (
            pymysql.err.OperationalError(1040, "Too many connections"),
            FailureKind.TRANSIENT,
            "ER_CON_COUNT_ERROR",
            "many",
        ),
        (pymysql.err.OperationalError(2013, "Lost connection"), FailureKind.TRANSIENT, "CONNECTION_LOST", "Lost"),
        (pymysql.err.InterfaceError(0, ""), FailureKind.TRANSIENT, "CONNECTION_LOST", "InterfaceError"),
        (pymysql.err.OperationalError(2059, "plugin"), FailureKind.CONFIGURATION, "CONNECTION_REFUSED", "plugin"),
        (
            pymysql.err.OperationalError(1142, "denied to 'u'", sqlstate="42000"),
            FailureKind.CONFIGURATION,
            "ER_TABLEACCESS_DENIED_ERROR",
            "'u'",
        ),
        (
            pymysql.err.DataError(1292, "Incorrect value: 'secret'", sqlstate="22007"),
            FailureKind.CONFIGURATION,
            "ER_TRUNCATED_WRONG_VALUE",
            "'…'",
        ),
        (
            pymysql.err.OperationalError(3024, "execution time exceeded"),
            FailureKind.TRANSIENT,
            "ER_QUERY_TIMEOUT",
            "time",
        ),
        (
            pymysql.err.OperationalError(1166, "Incorrect column name ' '"),
            FailureKind.CONFIGURATION,
            "COLUMN_WITHOUT_NAME",
            "AS name",
        ),
    ],
)
def test_an_error_of_the_server_has_its_kind(error: pymysql.Error, kind: FailureKind, code: str, shown: str) -> None:
    fault = mysql_fault(error)
    assert (fault.kind, fault.code) == (kind, code)
    assert shown in fault.message
    assert "secret" not in fault.message

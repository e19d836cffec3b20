import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from exporter.failures import ExportError, FailureKind
from exporter.rows.casts import TextCast, salesforce_rules
from exporter.sources.adbc.columns import Plain, without_views

D = Decimal


def plain(array: pa.Array) -> pa.Array:
    batch = pa.record_batch({"c": array})
    rules = Plain(batch.schema)
    result = rules.apply(batch)
    assert result.schema == rules.schema
    return result.column(0)


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (pa.array(["a", None, "a"]).dictionary_encode(), pa.string(), ["a", None, "a"]),
        (pa.RunEndEncodedArray.from_arrays([2, 3], ["a", None]), pa.string(), ["a", "a", None]),
        (pa.array([1.5], pa.float16()), pa.float32(), [1.5]),
        (pa.array([D("1.50")], pa.decimal64(10, 2)), pa.decimal128(10, 2), [D("1.50")]),
        (pa.array([D("1.50")], pa.decimal256(50, 2)), pa.decimal256(50, 2), [D("1.50")]),
        (
            pa.ExtensionArray.from_storage(pa.opaque(pa.string(), "numeric", "PostgreSQL"), pa.array(["1.500", None])),
            pa.string(),
            ["1.500", None],
        ),
        (
            pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8())),
            pa.bool_(),
            [True, False, None],
        ),
        (pa.array(["x", None], pa.string_view()), pa.large_string(), ["x", None]),
        (pa.array([b"x"], pa.binary_view()), pa.large_binary(), [b"x"]),
        (pa.array([1], pa.timestamp("ns")), pa.timestamp("ns"), [1]),
    ],
)
def test_a_type_becomes_one_that_targets_take(array: pa.Array, kind: pa.DataType, values: list[object]) -> None:
    result = plain(array)
    assert result.type == kind
    assert (result.cast(pa.int64()) if kind == pa.timestamp("ns") else result).to_pylist() == values


NESTED = pa.struct(
    [
        ("a", pa.int64()),
        ("b", pa.decimal128(38, 18)),
        ("c", pa.timestamp("us", "UTC")),
        ("d", pa.list_(pa.string())),
        ("e", pa.map_(pa.string(), pa.float64())),
        ("f", pa.binary()),
        ("g", pa.date32()),
    ]
)


def test_a_piece_of_a_batch_weighs_no_more_than_its_texts() -> None:
    batch = pa.record_batch({"c": pa.array(["x" * 100] * 10_000, pa.string_view()), "n": pa.array([1] * 10_000)})
    assert batch.slice(0, 10).nbytes > 1_000_000
    whole = without_views(batch)
    assert whole.slice(0, 10).nbytes < 2_000
    assert whole.to_pylist() == batch.to_pylist()


def test_nested_values_become_json_with_every_digit() -> None:
    value = {
        "a": 2**53 + 1,
        "b": D("12345678901234567890.123456789012345678"),
        "c": datetime(2026, 11, 23, 3, tzinfo=UTC),
        "d": ['ü"', None],
        "e": [("x", 0.1), ("y", float("nan"))],
        "f": b"\x00\xff",
        "g": date(2026, 11, 23),
    }
    [text, none] = plain(pa.array([value, None], NESTED)).to_pylist()
    assert none is None
    assert text == (
        '{"a":9007199254740993,"b":12345678901234567890.123456789012345678,"c":"2026-11-23T03:00:00+00:00",'
        '"d":["ü\\"",null],"e":{"x":0.1,"y":"nan"},"f":"AP8=","g":"2026-11-23"}'
    )


def test_nested_values_of_extension_types_are_what_they_mean() -> None:
    one = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=1).bytes], pa.binary(16)))
    number = pa.ExtensionArray.from_storage(pa.opaque(pa.string(), "numeric", "PostgreSQL"), pa.array(["1.500"]))
    both = pa.StructArray.from_arrays([one, number], names=["u", "n"])
    assert plain(both).to_pylist() == ['{"u":"00000000-0000-0000-0000-000000000001","n":"1.500"}']


def test_an_empty_map_and_an_empty_list_differ() -> None:
    assert plain(pa.array([[]], pa.map_(pa.string(), pa.int64()))).to_pylist() == ["{}"]
    assert plain(pa.array([[]], pa.list_(pa.int64()))).to_pylist() == ["[]"]


@pytest.mark.parametrize("kind", [pa.string_view(), pa.large_string(), pa.binary_view(), pa.large_binary(), NESTED])
def test_salesforce_takes_what_comes_of_it(kind: pa.DataType) -> None:
    batch = pa.record_batch({"c": pa.array([None], kind)})
    rules = Plain(batch.schema)
    assert TextCast(rules.schema, salesforce_rules()).apply(rules.apply(batch)).faults == ()


def test_a_value_that_has_no_text_is_configuration_and_not_shown() -> None:
    twice = pa.array([[("secret", 1), ("secret", 2)]], pa.map_(pa.string(), pa.int64()))
    with pytest.raises(ExportError, match="VALUE_NOT_SUPPORTED") as caught:
        plain(twice)
    assert caught.value.kind is FailureKind.CONFIGURATION
    assert '"c"' in caught.value.message
    assert "secret" not in caught.value.message

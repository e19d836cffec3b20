"""Which Arrow types a Salesforce field takes: the whole table."""

from dataclasses import replace

import pyarrow as pa
import pytest
from support.salesforce.fields import make_field

from exporter.targets.salesforce.preparation.type_table import FITS, KINDS, Fit, family, fit, type_faults

COLUMNS = {
    "boolean": [pa.bool_()],
    "integer": [pa.int8(), pa.uint64(), pa.decimal128(10, 0), pa.decimal128(5, -2)],
    "float": [pa.float16(), pa.float32(), pa.float64()],
    "decimal": [pa.decimal128(10, 2), pa.decimal256(50, 38), pa.decimal32(5, 1)],
    "date": [pa.date32(), pa.date64()],
    "timestamp": [pa.timestamp("s"), pa.timestamp("us", tz="Europe/Berlin"), pa.timestamp("ns")],
    "time": [pa.time32("s"), pa.time64("us")],
    "uuid": [pa.uuid()],
    "binary": [pa.binary(), pa.large_binary(), pa.binary(16), pa.binary_view()],
    "text": [pa.string(), pa.large_string(), pa.string_view(), pa.json_(), pa.dictionary(pa.int8(), pa.string())],
    "null": [pa.null()],
    "nested": [pa.list_(pa.int8()), pa.struct([("a", pa.int8())]), pa.map_(pa.string(), pa.string())],
}


@pytest.mark.parametrize("word", COLUMNS)
def test_every_arrow_type_is_of_one_family(word: str) -> None:
    assert {family(str(kind)) for kind in COLUMNS[word]} == {word}
    assert {family(f"dictionary<values={kind}, indices=int32, ordered=0>") for kind in COLUMNS[word][:1]} == {word}


def test_the_table_says_of_each_family_what_becomes_of_it_in_each_kind_of_field() -> None:
    kinds = {*KINDS.values()} - {"compound"}
    assert {word: {*row} for word, row in FITS.items()} == {word: kinds for word in COLUMNS if word != "nested"}


def test_a_date_and_a_time_of_day_never_mix() -> None:
    for mixed in (("date", "datetime"), ("timestamp", "date"), ("time", "datetime"), ("date", "time")):
        assert FITS[mixed[0]][mixed[1]] is Fit.NONE
    assert [word for word, row in FITS.items() if row["date"] is Fit.ALL] == ["date", "null"]
    assert [word for word, row in FITS.items() if row["datetime"] is Fit.ALL] == ["timestamp", "null"]


@pytest.mark.parametrize(
    ("arrow", "kind", "told"),
    [
        (
            pa.timestamp("us"),
            "date",
            "a timestamp (timestamp[us]), and the field F__c is of type date: write cast(c as date)",
        ),
        (pa.date32(), "datetime", "the field F__c is of type datetime: write cast(c as timestamp) in the query"),
        (
            pa.decimal128(10, 2),
            "int",
            "c is a decimal number (decimal128(10, 2)), and the field F__c is of type int: write cast",
        ),
        (pa.decimal128(10, 0), "int", ""),
        (pa.float64(), "int", ""),
        (pa.bool_(), "int", "write case when c then 1 else 0 end in the query"),
        (pa.int64(), "reference", "c is a number (int64), and the field F__c is of type reference"),
        (pa.uuid(), "id", "c is a uuid"),
        (pa.binary(), "base64", ""),
        (pa.binary(), "datetime", "c is a binary"),
        (pa.list_(pa.string()), "string", "c is a list: make it text in the query"),
        (pa.list_(pa.string()), "sometimes", "c is a list: make it text in the query"),
        (pa.date32(), "sometimes", ""),
        (pa.date32(), "string", ""),
        (pa.string(), "address", ""),
    ],
)
def test_a_column_that_never_fits_is_told_with_what_to_write_instead(arrow: pa.DataType, kind: str, told: str) -> None:
    found = " ".join(type_faults("c", str(arrow), make_field(type=kind)))
    assert told in found
    assert bool(found) == bool(told)


def test_nothing_goes_into_a_compound_field() -> None:
    address = make_field(type="address")
    assert fit("string", address) is Fit.NONE
    assert fit("string", replace(address, type="of-a-later-release")) is Fit.SOME

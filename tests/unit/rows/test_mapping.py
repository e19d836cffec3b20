from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest

from exporter.failures import ExportError, FailureKind
from exporter.rows.casts import TextCast, numeral, salesforce_rules
from exporter.rows.mapping import apply_mapping
from exporter.settings.mapping import OutputMapping, Segment

EXPORTED_AT = datetime(2026, 11, 24, 2, 30, tzinfo=timezone(timedelta(hours=9)))
SEGMENT = Segment(id="42", name="Gold & more", audience_id="7", funnel_name="Fun", stage_name="Late")


def reader(columns: dict[str, list[Any]], batches: int = 1) -> pa.RecordBatchReader:
    batch = pa.record_batch(columns)
    return pa.RecordBatchReader.from_batches(batch.schema, [batch] * batches)


def mapped(columns: dict[str, list[Any]], mapping: dict[str, Any], segment: Segment | None = SEGMENT) -> pa.Table:
    settings = OutputMapping.model_validate(mapping)
    return apply_mapping(reader(columns), settings, segment=segment, exported_at=EXPORTED_AT).read_all()


def built(string: str, *parameters: dict[str, str], segment: Segment | None = SEGMENT) -> str:
    column = {"column": "Built__c", "string": string, "parameters": list(parameters)}
    (value,) = mapped({"a": [1]}, {"columns": [column]}, segment)["Built__c"].to_pylist()
    return str(value)


def test_without_a_mapping_the_rows_pass_as_they_are() -> None:
    rows = reader({"b": [1], "a": ["x"]})
    assert apply_mapping(rows, None, segment=None, exported_at=EXPORTED_AT) is rows


def test_only_the_named_columns_go_out_in_the_order_of_the_mapping() -> None:
    table = mapped(
        {"email": ["x"], "id": [1], "secret": ["s"]},
        {"columns": [{"column": "Id__c", "source": "id"}, {"column": "Email", "source": "email"}]},
    )
    assert table.to_pydict() == {"Id__c": [1], "Email": ["x"]}
    assert table.schema.field("Id__c").type == pa.int64()


def test_all_columns_keeps_the_query_s_order_renames_in_place_and_appends_built_strings() -> None:
    table = mapped(
        {"email": ["x"], "id": [1], "name": ["n"]},
        {
            "all_columns": True,
            "columns": [
                {"column": "Source__c", "string": "td"},
                {"column": "Id__c", "source": "id"},
                {"column": "Copy__c", "source": "id"},
            ],
        },
    )
    assert table.column_names == ["email", "Id__c", "Copy__c", "name", "Source__c"]
    assert table.to_pylist() == [{"email": "x", "Id__c": 1, "Copy__c": 1, "name": "n", "Source__c": "td"}]


def test_every_row_of_every_batch_gets_the_built_string() -> None:
    settings = OutputMapping.model_validate({"columns": [{"column": "S", "string": "same"}]})
    rows = apply_mapping(reader({"a": [1, 2]}, batches=3), settings, segment=None, exported_at=EXPORTED_AT)
    assert [batch.column("S").to_pylist() for batch in rows] == [["same", "same"]] * 3


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("SegmentId", "42"),
        ("SegmentName", "Gold & more"),
        ("AudienceId", "7"),
        ("FunnelName", "Fun"),
        ("StageName", "Late"),
    ],
)
def test_a_parameter_names_a_value_of_the_segment(kind: str, value: str) -> None:
    assert built("<$1>", {"type": kind}) == f"<{value}>"
    with pytest.raises(ExportError, match="NO_SEGMENT_VALUE") as caught:
        built("<$1>", {"type": kind}, segment=Segment())
    assert caught.value.kind is FailureKind.CONFIGURATION
    with pytest.raises(ExportError, match=f'"Built__c" needs the {kind}'):
        built("<$1>", {"type": kind}, segment=None)


def test_parameters_stand_where_their_numbers_are() -> None:
    ten = [{"type": "String", "string": f"v{number}"} for number in range(1, 11)]
    assert built("$2-$1-$10$1 $", *ten) == "v2-v1-v10v1 $"


def test_a_value_that_looks_like_a_placeholder_is_not_replaced_again() -> None:
    assert built("$1$2", {"type": "String", "string": "$2"}, {"type": "String", "string": ""}) == "$2"


def test_a_timestamp_is_the_export_s_time_in_utc() -> None:
    assert built("$1", {"type": "Timestamp", "format": "%Y-%m-%d %H"}) == "2026-11-23 17"
    assert built("$1", {"type": "Timestamp"}) == "2026-11-23 17:30:00"


@pytest.mark.parametrize(
    ("source", "hint"),
    [("emial", 'did you mean "email"?'), ("Email", 'did you mean "email"?'), ("zzz", "its columns are email, id")],
)
def test_a_missing_column_is_named_with_the_nearest_real_one(source: str, hint: str) -> None:
    with pytest.raises(ExportError, match="MISSING_COLUMN") as caught:
        mapped({"email": ["x"], "id": [1]}, {"columns": [{"column": "Email", "source": source}]})
    assert caught.value.kind is FailureKind.CONFIGURATION
    assert f'"{source}"' in caught.value.message
    assert hint in caught.value.message


def test_two_columns_may_not_go_out_under_one_name() -> None:
    with pytest.raises(ExportError, match='DUPLICATE_COLUMN: The mapping sends two columns as "email"'):
        mapped({"email": ["x"], "id": [1]}, {"all_columns": True, "columns": [{"column": "email", "source": "id"}]})


def test_what_the_source_raises_passes_through() -> None:
    def broken() -> Any:
        yield pa.record_batch({"a": [1]})
        raise KeyError("mine")

    rows = pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), broken())
    settings = OutputMapping.model_validate({"all_columns": True})
    with pytest.raises(KeyError, match="mine"):
        apply_mapping(rows, settings, segment=None, exported_at=EXPORTED_AT).read_all()


def test_a_renamed_column_of_numbers_as_text_still_refuses_nan() -> None:
    schema = pa.schema([numeral("n")])
    rows = pa.RecordBatchReader.from_batches(schema, [pa.record_batch([["NaN", "1.50"]], schema=schema)])
    mapping = OutputMapping.model_validate({"columns": [{"column": "Amount__c", "source": "n", "nulls": "clear"}]})
    out = apply_mapping(rows, mapping, segment=None, exported_at=datetime(2026, 11, 23, 3, tzinfo=UTC))
    [text] = [TextCast(out.schema, salesforce_rules()).apply(batch) for batch in out]
    assert [(fault.index, fault.code) for fault in text.faults] == [(0, "NOT_A_NUMBER")]

import json

import pytest

from exporter.emulator.org.record_table import BatchError, Table, parse_xml, read_table


def _rows(table: Table) -> list[tuple[str, ...]]:
    return list(zip(*table.columns, strict=True))


def test_csv_keeps_line_ends_separators_and_quotes_that_stand_in_quotes() -> None:
    content = 'Name,Notes__c\r\n"a\r\nb","c\rd"\r\n"e\nf","g,""h"""\r\n\u2028x\x85y, z \r\n'.encode()
    table = read_table(content, "CSV")
    assert table.header == ("Name", "Notes__c")
    assert _rows(table) == [("a\r\nb", "c\rd"), ("e\nf", 'g,"h"'), ("\u2028x\x85y", " z ")]


def test_csv_may_begin_with_a_byte_order_mark_and_have_blank_lines() -> None:
    assert _rows(read_table(b"\xef\xbb\xbfName\n\na\n\n", "CSV")) == [("a",)]


def test_csv_takes_a_header_without_rows_and_a_value_of_131072_characters() -> None:
    assert read_table(b"Name,Phone\n", "CSV").rows == 0
    long = '"' * 131_072
    content = 'Name\n"{}"\n'.format(long.replace('"', '""')).encode()
    assert _rows(read_table(content, "CSV")) == [(long,)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "InvalidBatch : The batch is empty"),
        (b"\n\n", "InvalidBatch : The batch is empty"),
        (b"Name\na,b\n", "InvalidBatch : Row 1 has 2 columns, the header 1"),
        (b"Name,Phone\na,b\nc\n", "InvalidBatch : Row 2 has 1 columns, the header 2"),
        (b'Name\n"a"b\n', "InvalidBatch : Failed to parse CSV"),
        (b'Name\n"a', "InvalidBatch : Failed to parse CSV"),
        (b"Name\n\xff\n", "ClientInputError : The batch is not valid UTF-8"),
        (
            b"Name\n" + b"a\n" * 10_001,
            "InvalidBatch : Exceeded number of records: 10002. Number of records should be less than or equal to 10001",
        ),
        (b"a" * 32_001 + b"\n", "InvalidBatch : Exceeded size of the header: 1 fields"),
        (b"a," * 5_000 + b"a\n", "InvalidBatch : Exceeded size of the header: 5001 fields"),
        (b"Name\n" + b"a" * 400_001, "InvalidBatch : Row 1 exceeds 400000 characters"),
    ],
)
def test_a_batch_that_cannot_be_read_says_why(content: bytes, message: str) -> None:
    with pytest.raises(BatchError) as refused:
        read_table(content, "CSV")
    assert str(refused.value).startswith(message)


def test_json_says_what_csv_would() -> None:
    records = [
        {"Name": "Ünï", "Active__c": True, "Score__c": 1.50, "Big__c": 12345678901234567890, "Empty__c": None},
        {"Name": "", "Account": {"attributes": {"type": "Account"}, "Ext__c": "x"}, "attributes": {"type": "Contact"}},
    ]
    table = read_table(json.dumps(records).encode(), "JSON")
    assert table.header == ("Name", "Active__c", "Score__c", "Big__c", "Empty__c", "Account.Ext__c")
    assert _rows(table) == [
        ("Ünï", "true", "1.5", "12345678901234567890", "#N/A", ""),
        ("#N/A", "", "", "", "", "x"),
    ]


@pytest.mark.parametrize("content", [b"{}", b"[1]", b"[", b'["a"]', b'[{"a": "\\ud800"}]', b'[{"a": [1]}]'])
def test_json_that_is_no_list_of_records_is_refused(content: bytes) -> None:
    with pytest.raises(BatchError):
        read_table(content, "JSON")


def test_xml_says_what_csv_would() -> None:
    content = """<?xml version="1.0" encoding="UTF-8"?>
        <sObjects xmlns="http://www.force.com/2009/06/asyncapi/dataload"
          xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
          <sObject><Name>a &amp; b</Name><Phone xsi:nil="true"/></sObject>
          <sObject><Name>c</Name><Account><sObject><Ext__c>x</Ext__c></sObject></Account></sObject>
        </sObjects>"""
    table = read_table(content.encode(), "XML")
    assert table.header == ("Name", "Phone", "Account.Ext__c")
    assert _rows(table) == [("a & b", "#N/A", ""), ("c", "", "x")]


@pytest.mark.parametrize(
    "content", [b"<sObjects>", b"<other/>", b'<!DOCTYPE x [<!ENTITY a "b">]><sObjects>&a;</sObjects>', b""]
)
def test_xml_that_is_no_list_of_records_is_refused(content: bytes) -> None:
    with pytest.raises(BatchError):
        read_table(content, "XML")


@pytest.mark.parametrize("padding", [0, 5000])
def test_a_document_type_is_refused_behind_a_comment_too(padding: int) -> None:
    text = f'<!--{"x" * padding}--><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    with pytest.raises(ValueError, match="document type"):
        parse_xml(text)

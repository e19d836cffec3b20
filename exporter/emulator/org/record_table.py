"""Batch contents as columns of text: CSV, JSON and XML alike. Pure.

Whatever the form, a cell is what CSV would say: empty leaves the field alone, ``#N/A`` empties it.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from exporter.safe_parsing.xml import parse_plain

MAX_ROWS = 10_000
MAX_BYTES = 10_000_000
"""Both, and the same number of characters: Bulk API limits, for one batch of Bulk API 1.0."""
MAX_RECORD_CHARACTERS = 400_000
MAX_COLUMNS = 5_000
MAX_HEADER_CHARACTERS = 32_000
NULL = "#N/A"

# Salesforce takes 131,072 characters in a field; the module's own limit would end there, quotes included.
csv.field_size_limit(2**27)


class BatchError(Exception):
    """A batch of which nothing can be processed; the text is its stateMessage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows by column: every column is as long as the others."""

    header: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    rows: int


def read_table(content: bytes, kind: str) -> Table:
    """Read a batch whose kind is ``CSV``, ``JSON`` or ``XML``. Raises BatchError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BatchError("ClientInputError : The batch is not valid UTF-8") from error
    if kind == "JSON":
        return _from_records(_json_records(text))
    if kind == "XML":
        return _from_records(_xml_records(text))
    return _from_lines(read_lines(text))


def read_lines(text: str, *, delimiter: str = ",") -> Iterator[list[str]]:
    """Yield the lines of CSV, header first, blank ones left out; a quoted CR, LF or CRLF stays as it is.

    Raises BatchError.
    """
    try:
        with io.StringIO(text, newline="") as source:
            for line in csv.reader(source, strict=True, delimiter=delimiter):
                if line:
                    yield line
    except csv.Error as error:
        raise BatchError(f"InvalidBatch : Failed to parse CSV: {error}") from error


def _from_lines(lines: Iterator[list[str]]) -> Table:
    header = next(lines, None)
    if header is None:
        raise BatchError("InvalidBatch : The batch is empty")
    return table_of(header, list(lines))


def table_of(header: list[str], rows: list[list[str]]) -> Table:
    """Turn lines into a table. Raises BatchError if a line is longer or shorter than the header, or a limit is hit."""
    if len(rows) > MAX_ROWS:
        raise BatchError(  # counted with the header, as a real org does
            f"InvalidBatch : Exceeded number of records: {len(rows) + 1}. "
            f"Number of records should be less than or equal to {MAX_ROWS + 1}"
        )
    if len(header) > MAX_COLUMNS or sum(map(len, header)) > MAX_HEADER_CHARACTERS:
        raise BatchError(f"InvalidBatch : Exceeded size of the header: {len(header)} fields")
    width = len(header)
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise BatchError(f"InvalidBatch : Row {number} has {len(row)} columns, the header {width}")
        if sum(map(len, row)) > MAX_RECORD_CHARACTERS:
            raise BatchError(f"InvalidBatch : Row {number} exceeds {MAX_RECORD_CHARACTERS} characters")
    columns = tuple(zip(*rows, strict=True)) if rows else tuple(() for _ in header)
    return Table(header=tuple(header), columns=columns, rows=len(rows))


def _from_records(records: Iterable[Mapping[str, str]]) -> Table:
    rows = list(records)
    header = list(dict.fromkeys(name for row in rows for name in row))
    return table_of(header, [[row.get(name, "") for name in header] for row in rows])


def _json_records(text: str) -> Iterator[Mapping[str, str]]:
    try:
        found = json.loads(text, parse_float=str, parse_int=str)
    except ValueError as error:
        raise BatchError(f"InvalidBatch : Failed to parse JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BatchError("InvalidBatch : A JSON batch has to be a list of objects")
    return (flatten(each) for each in found)


def flatten(record: Mapping[str, Any]) -> dict[str, str]:
    """Turn a JSON record into cells; ``{"Account": {"Ext__c": "x"}}`` becomes column ``Account.Ext__c``."""
    cells: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            inner = {key: each for key, each in value.items() if key != "attributes"}
            if name != "attributes":
                cells |= {f"{name}.{key}": json_cell(each) for key, each in inner.items()}
        else:
            cells[name] = json_cell(value)
    return cells


def json_cell(value: object) -> str:
    """Return the cell of a JSON value: null and the empty text empty the field. Raises BatchError."""
    if value is None or value == "":
        return NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise BatchError("InvalidBatch : A field cannot hold a list or an object")
    text = str(value)
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BatchError("ClientInputError : A JSON escape stands for half a character")
    return text


_MOST_ELEMENTS = 2_000_000
"""Of a batch of 10,000 records in XML: 200 fields each."""
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"


def parse_xml(text: str) -> ET.Element:
    """Parse XML without a document type. Raises ValueError."""
    return parse_plain(text, most=_MOST_ELEMENTS)


def local_name(element: ET.Element) -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _xml_records(text: str) -> Iterator[Mapping[str, str]]:
    try:
        root = parse_xml(text)
    except ValueError as error:
        raise BatchError(f"InvalidBatch : Failed to parse XML: {error}") from error
    if local_name(root) != "sObjects":
        raise BatchError("InvalidBatch : An XML batch has to be a list of sObjects")
    return (_xml_record(each) for each in root)


def _xml_record(record: ET.Element) -> dict[str, str]:
    cells: dict[str, str] = {}
    for child in record:
        if len(child):  # <Account><sObject><Ext__c>x</Ext__c></sObject></Account>
            for parent in child:
                cells |= {f"{local_name(child)}.{local_name(each)}": each.text or "" for each in parent}
        else:
            cells[local_name(child)] = NULL if child.get(_NIL) == "true" else child.text or ""
    return cells

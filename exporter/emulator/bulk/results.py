"""What became of a batch's rows: kept as CSV, shown as CSV, JSON or XML. Pure."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from exporter.emulator.http import BULK_NAMESPACE

_HEADER = '"Id","Success","Created","Error"\n'


class RowResult(NamedTuple):
    """A line of a batch's result; ``error`` is empty if the row was accepted."""

    id: str
    success: bool
    created: bool
    error: str


def write_results(ids: Sequence[str], created: Sequence[bool], errors: dict[int, str]) -> bytes:
    """Write a batch's result in row order, every cell in quotes."""
    lines = [
        f'"{record}","true","true",""\n' if new else f'"{record}","true","false",""\n'
        for record, new in zip(ids, created, strict=True)
    ]
    for row, error in errors.items():
        lines[row] = '"","false","false","{}"\n'.format(error.replace('"', '""'))
    return (_HEADER + "".join(lines)).encode("utf-8")


def read_results(content: bytes) -> Iterator[RowResult]:
    """Yield the lines of a batch's result."""
    with io.StringIO(content.decode("utf-8"), newline="") as text:
        lines = csv.reader(text)
        next(lines, None)
        for record, success, created, error in lines:
            yield RowResult(record, success == "true", created == "true", error)


def split_error(error: str) -> tuple[str, str, list[str]]:
    """Split ``CODE:message:fields --`` into its three parts."""
    code, _, rest = error.partition(":")
    message, _, fields = rest.rpartition(":")
    return code, message, [name for name in fields.removesuffix("--").strip().split(",") if name]


def results_json(content: bytes) -> list[dict[str, Any]]:
    """Return a batch's result as a JSON batch's client gets it."""
    found = []
    for row in read_results(content):
        errors = []
        if row.error:
            code, message, fields = split_error(row.error)
            errors = [{"message": message, "fields": fields, "statusCode": code, "extendedErrorDetails": None}]
        found.append({"success": row.success, "created": row.created, "id": row.id or None, "errors": errors})
    return found


def results_xml(content: bytes) -> ET.Element:
    """Return a batch's result as an XML batch's client gets it."""
    root = ET.Element("results", {"xmlns": BULK_NAMESPACE})
    for row in read_results(content):
        result = ET.SubElement(root, "result")
        if row.error:
            code, message, fields = split_error(row.error)
            errors = ET.SubElement(result, "errors")
            for name in fields:
                ET.SubElement(errors, "fields").text = name
            ET.SubElement(errors, "message").text = message
            ET.SubElement(errors, "statusCode").text = code
        else:
            ET.SubElement(result, "id").text = row.id
        ET.SubElement(result, "success").text = str(row.success).lower()
        ET.SubElement(result, "created").text = str(row.created).lower()
    return root

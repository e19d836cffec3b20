"""What a bulk query gives: its records in pieces of CSV or JSON."""

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import Any

from exporter.emulator.http import RefusalError
from exporter.emulator.org.org import Org
from exporter.emulator.org.record_table import BatchError
from exporter.emulator.org.schema import Field
from exporter.emulator.soql.compiler import Compiled, compile_query
from exporter.emulator.soql.parser import parse
from exporter.emulator.soql.queries import record_json

PIECE = 50_000
"""Records in one piece of a result."""


def compile_bulk(org: Org, text: str, *, deleted_too: bool) -> Compiled:
    """Compile a query for bulk: records only, no aggregates. Raises BatchError."""
    try:
        query = parse(text)
        compiled = compile_query(org.schema, query, deleted_too=deleted_too, now=org.clock())
    except RefusalError as error:
        raise BatchError(f"InvalidBatch : Failed to process query: {error.code}: {error.message}") from error
    if query.counts or query.aggregated:
        raise BatchError(
            "InvalidBatch : Failed to process query: FUNCTIONALITY_NOT_ENABLED: "
            "Aggregate Relationships not supported in Bulk Query"
        )
    return compiled


def export(db: sqlite3.Connection, compiled: Compiled, kind: str, version: str) -> Iterator[tuple[int, bytes]]:
    """Yield the pieces of a result with the number of their records; at least one, which may be empty."""
    rows = db.execute(compiled.sql, compiled.parameters)
    first = True
    while (piece := [tuple(row) for row in islice(rows, PIECE)]) or first:
        first = False
        if kind == "JSON":
            records = [record_json(compiled, row, version) for row in piece]
            yield len(piece), json.dumps(records, ensure_ascii=False).encode()
        else:
            yield len(piece), write_lines(
                [[".".join(shown.path) for shown in compiled.shown]]
                + [_cells(compiled, row) for row in piece]
            )  # fmt: skip


def _cells(compiled: Compiled, row: tuple[Any, ...]) -> list[str]:
    return [_cell(shown.field, value) for shown, value in zip(compiled.shown, row, strict=False)]


def _cell(field: Field | None, value: Any) -> str:  # noqa: ANN401 - a stored value of any type
    if value is None:
        return ""
    if field is not None and field.type == "boolean":
        return "true" if value else "false"
    if field is not None and field.type in {"double", "currency", "percent"}:
        return str(float(value))
    return str(value)


def write_lines(lines: list[list[str]], *, delimiter: str = ",", ending: str = "\n") -> bytes:
    """Write CSV, every cell in quotes."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator=ending, delimiter=delimiter).writerows(lines)
    return text.getvalue().encode()

"""An org of the emulator without HTTP: batches in, outcomes out."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.salesforce.emulator_schema import AIRPORT

from exporter.emulator.org.org import Org
from exporter.emulator.org.record_table import read_table
from exporter.emulator.org.schema_file import load_schema
from exporter.emulator.org.writing import Instruction, Outcome, write
from exporter.emulator.soql.queries import Queries

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@contextmanager
def open_org(directory: Path) -> Iterator[Org]:
    """Open an org with airports in a directory; its clock stands at noon."""
    org = Org(state=directory / "org.sqlite", schema=load_schema(AIRPORT), clock=lambda: NOON)
    try:
        yield org
    finally:
        org.store.close()


def csv_of(header: Sequence[str], *rows: Sequence[str]) -> bytes:
    """Write CSV as a careful client does."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    return text.getvalue().encode()


def load(
    org: Org, operation: str, content: bytes | str, *, key: str | None = None, name: str = "Airport__c"
) -> Outcome:
    """Carry out a CSV batch."""
    each = org.object(name)
    order = Instruction(object=each, operation=operation, key=each.field(key) if key else None)
    table = read_table(content if isinstance(content, bytes) else content.encode(), "CSV")
    with org.desk() as desk:
        return write(desk, order, table)


def ask(org: Org, text: str, *, deleted_too: bool = False) -> list[Any]:
    """Return the records of a query's first page, each as its values in order."""
    answer = Queries(org).begin(text, "60.0", deleted_too=deleted_too)
    return [_plain(record) for record in answer["records"]]


def _plain(record: dict[str, Any]) -> Any:
    values = [
        _plain(value) if isinstance(value, dict) else value for key, value in record.items() if key != "attributes"
    ]
    return values[0] if len(values) == 1 else tuple(values)

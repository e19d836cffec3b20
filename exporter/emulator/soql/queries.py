"""Queries answered: pages of 2,000 records that stay what they were when the query began."""

import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.emulator.http import RefusalError
from exporter.emulator.org.ids import make_id
from exporter.emulator.org.org import Org
from exporter.emulator.org.schema import Field
from exporter.emulator.soql.compiler import Compiled, compile_query
from exporter.emulator.soql.parser import parse

PAGE = 2000
_MAX_CURSORS = 10
"""Open queries of one user; the oldest ends when there is one more."""
_ID = 18


@dataclass(kw_only=True, slots=True)
class _Cursor:
    compiled: Compiled
    ids: str
    """All of them, one after the other: a million take 18 MB."""


class Queries:
    """The open queries of the org."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.Lock()
        self._cursors: OrderedDict[str, _Cursor] = OrderedDict()
        self._opened = 0

    def begin(self, text: str, version: str, *, deleted_too: bool = False) -> dict[str, Any]:
        """Answer a query with its first page. Raises RefusalError."""
        query = parse(text)
        compiled = compile_query(self._org.schema, query, deleted_too=deleted_too, now=self._org.clock())
        with self._org.store.reading() as db:
            if query.counts:
                count = db.execute(compiled.sql, compiled.parameters).fetchone()[0]
                return {"totalSize": count, "done": True, "records": []}
            if compiled.aggregated:
                records = [_aggregate(compiled, row) for row in db.execute(compiled.sql, compiled.parameters)]
                return {"totalSize": len(records), "done": True, "records": records}
            ids = "".join(row[0] for row in db.execute(compiled.id_sql, compiled.parameters))
        with self._lock:
            self._opened += 1
            name = make_id("01g", self._opened)
        cursor = _Cursor(compiled=compiled, ids=ids)
        if len(ids) > PAGE * _ID:
            with self._lock:
                self._cursors[name] = cursor
                if len(self._cursors) > _MAX_CURSORS:
                    self._cursors.popitem(last=False)
        return self._page(name, cursor, 0, version)

    def more(self, locator: str, version: str) -> dict[str, Any]:
        """Answer with the page that a nextRecordsUrl names. Raises RefusalError."""
        name, _, start = locator.partition("-")
        with self._lock:
            cursor = self._cursors.get(name)
        if cursor is None or not start.isdecimal():
            raise RefusalError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(name, cursor, int(start), version)

    def _page(self, name: str, cursor: _Cursor, start: int, version: str) -> dict[str, Any]:
        total = len(cursor.ids) // _ID
        ids = [cursor.ids[at * _ID : (at + 1) * _ID] for at in range(start, min(start + PAGE, total))]
        with self._org.store.reading() as db:
            records = [record_json(cursor.compiled, tuple(row), version) for row in _rows(db, cursor.compiled, ids)]
        answer: dict[str, Any] = {"totalSize": total, "done": start + PAGE >= total, "records": records}
        if not answer["done"]:
            answer["nextRecordsUrl"] = f"/services/data/v{version}/query/{name}-{start + PAGE}"
        return answer


def _rows(db: sqlite3.Connection, compiled: Compiled, ids: Sequence[str]) -> Iterator[sqlite3.Row]:
    return iter(db.execute(compiled.page_sql, (json.dumps(ids),)))


def _aggregate(compiled: Compiled, row: sqlite3.Row) -> dict[str, Any]:
    record: dict[str, Any] = {"attributes": {"type": "AggregateResult"}}
    for shown, value in zip(compiled.shown, tuple(row), strict=True):
        record[shown.path[-1]] = show_json(shown.field, value) if shown.field else value
    return record


def record_json(compiled: Compiled, values: tuple[Any, ...], version: str) -> dict[str, Any]:
    """Return a row as a record with its parents inside it, each with its type and address."""
    ids = dict(zip((path for path, _ in compiled.parents), values[len(compiled.shown) :], strict=True))
    types = dict(compiled.parents)
    record: dict[str, Any] = {"attributes": attributes(types[()].name, ids[()], version)}
    for shown, value in zip(compiled.shown, values, strict=False):
        target: dict[str, Any] = record
        for depth in range(1, len(shown.path)):
            path = shown.path[:depth]
            parent = ids[path] and {"attributes": attributes(types[path].name, ids[path], version)}
            found: dict[str, Any] | None = target.setdefault(path[-1], parent)
            if found is None:
                break
            target = found
        else:
            target[shown.path[-1]] = show_json(shown.field, value)
    return record


def attributes(name: str, record: str, version: str) -> dict[str, str]:
    """Return what every record carries: its type and where it is."""
    return {"type": name, "url": f"/services/data/v{version}/sobjects/{name}/{record}"}


def show_json(field: Field | None, value: Any) -> Any:  # noqa: ANN401 - a stored value of any type
    """Return a stored value as the REST API shows it."""
    if value is None or field is None:
        return value
    if field.type == "boolean":
        return bool(value)
    if field.type in {"double", "currency", "percent"}:
        return float(value)
    if field.type == "datetime":
        return value.removesuffix("Z") + "+0000"
    return value

"""sObject collections: up to 200 records in one call, of any objects, with results in the same order."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from exporter.emulator.bulk.results import split_error
from exporter.emulator.http import RefusalError, Reply, Request, Route, reply_json
from exporter.emulator.org.finding import Desk
from exporter.emulator.org.ids import normal_id
from exporter.emulator.org.org import Org
from exporter.emulator.org.record_table import BatchError, flatten, table_of
from exporter.emulator.org.schema import Field, ObjectType
from exporter.emulator.org.writing import Instruction, write

MAX_RECORDS = 200
_FIRST_VERSION, _FIRST_UPSERT_VERSION = 42, 46
_UNDONE = (
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "Record rolled back because not all records were valid and the request was using AllOrNone header",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    """A record of a call: what it is of, and its cells as CSV would have them."""

    object: ObjectType
    cells: Mapping[str, str]


class _UndoneError(Exception):
    """Not all records were valid, so none is to stay; carries the results."""

    def __init__(self, results: list[dict[str, Any]]) -> None:
        self.results = results
        super().__init__("rolled back")


class Composite:
    """``/services/data/…/composite/sobjects``."""

    def __init__(self, org: Org) -> None:
        self._org = org

    def routes(self) -> Iterable[Route]:
        """Return the paths of collections."""
        root = "/services/data/v{version}/composite/sobjects"
        yield Route(method="POST", path=root, handler=self._create)
        yield Route(method="PATCH", path=root, handler=self._update)
        yield Route(method="DELETE", path=root, handler=self._delete)
        yield Route(method="PATCH", path=f"{root}/{{object}}/{{key}}", handler=self._upsert)

    def _create(self, request: Request, names: Mapping[str, str]) -> Reply:
        return self._answer(request, names, "insert")

    def _update(self, request: Request, names: Mapping[str, str]) -> Reply:
        return self._answer(request, names, "update")

    def _upsert(self, request: Request, names: Mapping[str, str]) -> Reply:
        each = self._org.object(names["object"])
        key = each.field(names["key"])
        if key is None or not key.is_key:
            raise RefusalError(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible")
        return self._answer(request, names, "upsert", key)

    def _answer(self, request: Request, names: Mapping[str, str], operation: str, key: Field | None = None) -> Reply:
        _check_version(names, _FIRST_UPSERT_VERSION if operation == "upsert" else _FIRST_VERSION)
        try:
            body = json.loads(request.body, parse_float=str, parse_int=str)
            given = [dict(each) for each in body["records"]]
            together = body.get("allOrNone", False) is True
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RefusalError(400, "JSON_PARSER_ERROR", "The body has to be an object with records") from error
        records = [self._read(each) for each in given]
        if operation == "upsert" and any(each.object.name.lower() != names["object"].lower() for each in records):
            raise RefusalError(400, "INVALID_TYPE", "All records have to be of the object that the address names")
        return reply_json(self._write(records, operation, key, together=together))

    def _delete(self, request: Request, names: Mapping[str, str]) -> Reply:
        _check_version(names, _FIRST_VERSION)
        ids = [each for each in request.query.get("ids", "").split(",") if each]
        prefixes = {each.prefix: each for each in self._org.schema.objects.values()}
        for each in ids:
            if normal_id(each) is None or each[:3] not in prefixes:
                raise RefusalError(400, "MALFORMED_ID", f"malformed id {each}")
        records = [_Record(object=prefixes[each[:3]], cells={"Id": each}) for each in ids]
        together = request.query.get("allOrNone", "").lower() == "true"
        return reply_json(self._write(records, "delete", None, together=together))

    def _read(self, given: Mapping[str, Any]) -> _Record:
        about = given.get("attributes")
        name = str(about.get("type", "")) if isinstance(about, dict) else ""
        each = self._org.schema.find(name)
        if each is None:
            raise RefusalError(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
        cells = flatten(given)
        for column in cells:
            if each.field(column) is None and "." not in column:
                raise RefusalError(400, "INVALID_FIELD", f"No such column '{column}' on sobject of type {each.name}")
        return _Record(object=each, cells=cells)

    def _write(
        self, records: Sequence[_Record], operation: str, key: Field | None, *, together: bool
    ) -> list[dict[str, Any]]:  # fmt: skip
        if len(records) > MAX_RECORDS:
            message = f"record limit reached. cannot submit more than {MAX_RECORDS} records in this request"
            raise RefusalError(400, "EXCEEDED_ID_LIMIT", message)
        try:
            with self._org.desk() as desk:
                return _process(desk, records, operation, key, together=together)
        except BatchError as error:
            raise RefusalError(400, "INVALID_FIELD", str(error).partition(" : ")[2]) from error
        except _UndoneError as error:
            return [each if not each["success"] else _result("", ":".join((*_UNDONE, "--"))) for each in error.results]


def _process(
    desk: Desk, records: Sequence[_Record], operation: str, key: Field | None, *, together: bool
) -> list[dict[str, Any]]:  # fmt: skip
    """Write the records, neighbours of one object at a time. Raises BatchError, _UndoneError."""
    results: list[dict[str, Any]] = []
    for each, group in groupby(records, key=lambda record: record.object):
        rows = [{name.lower(): cell for name, cell in record.cells.items()} for record in group]
        header = list(dict.fromkeys(name for row in rows for name in row))
        table = table_of(header, [[row.get(name, "") for name in header] for row in rows])
        outcome = write(desk, Instruction(object=each, operation=operation, key=key), table)
        results += [
            _result(outcome.ids[row], outcome.errors.get(row), created=_made(outcome.created[row], key))
            for row in range(table.rows)
        ]
    if together and not all(each["success"] for each in results):
        raise _UndoneError(results)
    return results


def _made(created: bool, key: Field | None) -> bool | None:  # noqa: FBT001 - the value itself
    """Return what an upsert says of a record, and no other operation."""
    return created if key is not None else None


def _result(record: str, error: str | None, *, created: bool | None = None) -> dict[str, Any]:
    if error is not None:
        code, message, fields = split_error(error)
        return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": fields}]}
    found: dict[str, Any] = {"id": record, "success": True, "errors": []}
    return found if created is None else found | {"created": created}


def _check_version(names: Mapping[str, str], first: int) -> None:
    if float(names["version"]) < first:
        raise RefusalError(404, "NOT_FOUND", "The requested resource does not exist")

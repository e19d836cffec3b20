"""The REST API: versions, describe, queries, limits, single records."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from exporter.emulator.apis.describe import describe_global, describe_object, summary
from exporter.emulator.bulk.bulk_jobs import DAY, batches_since
from exporter.emulator.bulk.results import split_error
from exporter.emulator.http import RefusalError, Reply, Request, Route, reply_json
from exporter.emulator.org.field_values import Errors, read_column
from exporter.emulator.org.finding import find_by
from exporter.emulator.org.ids import normal_id
from exporter.emulator.org.org import FIRST_VERSION, LAST_VERSION, Org
from exporter.emulator.org.record_table import NULL, BatchError, flatten, table_of
from exporter.emulator.org.schema import ObjectType
from exporter.emulator.org.writing import Instruction, write
from exporter.emulator.soql.queries import Queries, attributes, show_json

_SEASONS = ("Winter", "Spring", "Summer")
_WINTER_15 = 32


class Rest:
    """``/services/data``."""

    def __init__(self, org: Org, queries: Queries) -> None:
        self._org = org
        self._queries = queries

    def routes(self) -> Iterable[Route]:
        """Return the paths of the REST API."""
        root = "/services/data/v{version}"
        yield Route(method="GET", path="/services/data", handler=self._versions, needs_login=False)
        yield Route(method="GET", path=root, handler=self._resources)
        yield Route(method="GET", path=f"{root}/limits", handler=self._limits)
        yield Route(method="GET", path=f"{root}/query", handler=self._query)
        yield Route(method="GET", path=f"{root}/queryAll", handler=self._query_all)
        yield Route(method="GET", path=f"{root}/query/{{locator}}", handler=self._more)
        yield Route(method="GET", path=f"{root}/sobjects", handler=self._sobjects)
        yield Route(method="GET", path=f"{root}/sobjects/{{object}}", handler=self._sobject)
        yield Route(method="GET", path=f"{root}/sobjects/{{object}}/describe", handler=self._describe)
        yield Route(method="POST", path=f"{root}/sobjects/{{object}}", handler=self._create)
        for key in ("{id}", "{key}/{value}"):
            yield Route(method="GET", path=f"{root}/sobjects/{{object}}/{key}", handler=self._get)
            yield Route(method="PATCH", path=f"{root}/sobjects/{{object}}/{key}", handler=self._change)
            yield Route(method="DELETE", path=f"{root}/sobjects/{{object}}/{key}", handler=self._delete)

    def _versions(self, _request: Request, _names: Mapping[str, str]) -> Reply:
        versions = []
        for version in range(FIRST_VERSION, LAST_VERSION + 1):
            year, season = divmod(version - _WINTER_15, 3)
            label = f"{_SEASONS[season]} '{15 + year}"
            versions.append({"label": label, "url": f"/services/data/v{version}.0", "version": f"{version}.0"})
        return reply_json(versions)

    def _resources(self, _request: Request, names: Mapping[str, str]) -> Reply:
        root = f"/services/data/v{names['version']}"
        return reply_json({name: f"{root}/{name}" for name in ("sobjects", "query", "queryAll", "limits", "jobs")})

    def _limits(self, _request: Request, _names: Mapping[str, str]) -> Reply:
        rights = self._org.rights
        with self._org.store.reading() as db:
            batches = batches_since(db, self._org.now() - DAY)
        calls = self._org.calls_today()
        return reply_json(
            {
                "DailyApiRequests": {"Max": rights.calls_a_day, "Remaining": max(0, rights.calls_a_day - calls)},
                "DailyBulkApiBatches": {"Max": rights.batches_a_day, "Remaining": rights.batches_a_day - batches},
                "DailyBulkV2QueryJobs": {"Max": 10_000, "Remaining": 10_000},
                "DataStorageMB": {"Max": 1_000_000, "Remaining": 1_000_000},
            }
        )

    def _query(self, request: Request, names: Mapping[str, str]) -> Reply:
        return reply_json(self._queries.begin(_query_text(request), names["version"]))

    def _query_all(self, request: Request, names: Mapping[str, str]) -> Reply:
        return reply_json(self._queries.begin(_query_text(request), names["version"], deleted_too=True))

    def _more(self, _request: Request, names: Mapping[str, str]) -> Reply:
        return reply_json(self._queries.more(names["locator"], names["version"]))

    def _sobjects(self, _request: Request, names: Mapping[str, str]) -> Reply:
        return reply_json(describe_global(self._org.schema, names["version"]))

    def _sobject(self, _request: Request, names: Mapping[str, str]) -> Reply:
        described = summary(self._org.object(names["object"]), names["version"])
        return reply_json({"objectDescribe": described, "recentItems": []})

    def _describe(self, _request: Request, names: Mapping[str, str]) -> Reply:
        each = self._org.object(names["object"])
        return reply_json(describe_object(self._org.schema, each, names["version"]))

    def _create(self, request: Request, names: Mapping[str, str]) -> Reply:
        each = self._org.object(names["object"])
        record, _ = self._write(each, "insert", _record(request))
        return reply_json({"id": record, "success": True, "errors": []}, 201)

    def _get(self, request: Request, names: Mapping[str, str]) -> Reply:
        each = self._org.object(names["object"])
        record = self._find(each, names)
        wanted = [name for name in request.query.get("fields", "").split(",") if name]
        chosen = [each.field(name) for name in wanted] if wanted else list(each.fields.values())
        found: dict[str, Any] = {"attributes": attributes(each.name, record, names["version"])}
        with self._org.store.reading() as db:
            row = db.execute(f'SELECT * FROM "{each.name}" WHERE "Id" = ?', (record,)).fetchone()  # noqa: S608 - schema
        for name, field in zip(wanted or ("",) * len(chosen), chosen, strict=True):
            if field is None:
                raise RefusalError(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {each.name}")
            found[field.name] = show_json(field, row[field.name])
        return reply_json(found)

    def _change(self, request: Request, names: Mapping[str, str]) -> Reply:
        """Update by Id, or upsert by an external id."""
        each = self._org.object(names["object"])
        cells = _record(request)
        if "id" in names or names["key"].lower() == "id":
            record = self._find(each, names)
            self._write(each, "update", {**cells, "Id": record})
            return Reply(status=204)
        key = each.field(names["key"])
        if key is None or not key.is_key:
            raise RefusalError(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible")
        record, created = self._write(each, "upsert", {**cells, key.name: names["value"]}, key.name)
        return reply_json({"id": record, "success": True, "errors": [], "created": created}, 201 if created else 200)

    def _delete(self, _request: Request, names: Mapping[str, str]) -> Reply:
        each = self._org.object(names["object"])
        self._write(each, "delete", {"Id": self._find(each, names)})
        return Reply(status=204)

    def _find(self, each: ObjectType, names: Mapping[str, str]) -> str:
        """Return the Id of the record that a path names. Raises RefusalError ``NOT_FOUND``."""
        key = each.field(names.get("key", "Id"))
        value = names.get("id") or names["value"]
        with self._org.store.reading() as db:
            if key is None or not key.is_key:
                found: list[str] = []
            elif key.type == "id":
                found = next(iter(find_by(db, each, key, [normal_id(value)]).values()), [])
            else:
                column = read_column(key, [value], 0, Errors())
                found = next(iter(find_by(db, each, key, column.values).values()), [])
        if len(found) != 1:
            raise RefusalError(404, "NOT_FOUND", "The requested resource does not exist")
        return found[0]

    def _write(self, each: ObjectType, operation: str, cells: dict[str, str], key: str = "Id") -> tuple[str, bool]:
        """Write one record; return its Id and whether it is new. Raises RefusalError with the row's error."""
        for name in cells:
            if each.field(name) is None and "." not in name:
                message = f"No such column '{name}' on sobject of type {each.name}"
                raise RefusalError(400, "INVALID_FIELD", message)
        order = Instruction(object=each, operation=operation, key=each.field(key) if operation == "upsert" else None)
        try:
            with self._org.desk() as desk:
                outcome = write(desk, order, table_of(list(cells), [list(cells.values())]))
        except BatchError as error:
            raise RefusalError(400, "INVALID_FIELD", str(error).partition(" : ")[2]) from error
        if outcome.errors:
            code, message, fields = split_error(outcome.errors[0])
            raise RefusalError(400, code, message, *fields)
        return outcome.ids[0], outcome.created[0]


def _query_text(request: Request) -> str:
    text = request.query.get("q")
    if not text:
        raise RefusalError(400, "MALFORMED_QUERY", "A query string has to be specified")
    return text


def _record(request: Request) -> dict[str, str]:
    """Return the record in a body as cells; here the empty text empties a field, as null does. Raises BatchError."""
    try:
        body = json.loads(request.body, parse_float=str, parse_int=str)
    except ValueError as error:
        raise RefusalError(400, "JSON_PARSER_ERROR", str(error)) from error
    if not isinstance(body, dict):
        raise RefusalError(400, "JSON_PARSER_ERROR", "The body has to be a JSON object")
    return {name: cell or NULL for name, cell in flatten(body).items()}

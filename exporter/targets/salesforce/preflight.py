"""Whether an object takes a result's columns, found out before anything is written."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from exporter.failures import configuration
from exporter.spool import SpooledColumn
from exporter.targets.salesforce.bulk1 import Bulk1
from exporter.targets.salesforce.client import Client
from exporter.targets.salesforce.describe import Field, ObjectDescription, describe, object_names
from exporter.targets.salesforce.modes import Operation, Plan

_NUMBERS = frozenset({"int", "long", "double", "currency", "percent"})
_DATES = frozenset({"date", "datetime"})
_LINKS = frozenset({"reference", "id"})
_FAMILIES = (
    ("boolean", re.compile(r"bool")),
    ("number", re.compile(r"u?int\d|float|double|halffloat|decimal")),
    ("date", re.compile(r"date\d")),
    ("timestamp", re.compile(r"timestamp")),
    ("time", re.compile(r"time\d")),
    ("binary", re.compile(r"(large_|fixed_size_)?binary")),
    ("nested", re.compile(r"(large_|fixed_size_)?list|struct|map|union|sparse_union|dense_union")),
)
# Text, and a column without any value, may become anything: Salesforce says so row by row.
_IMPOSSIBLE: Mapping[str, frozenset[str]] = {
    "boolean": _NUMBERS | _DATES | _LINKS | {"time"},
    "number": _DATES | _LINKS | {"time"},
    "date": _NUMBERS | _LINKS | {"boolean", "time"},
    "timestamp": _NUMBERS | _LINKS | {"boolean", "time"},
    "time": _NUMBERS | _DATES | _LINKS | {"boolean"},
    "binary": _NUMBERS | _DATES | _LINKS | {"boolean", "time"},
}
_PATH = re.compile(r"(?:(?P<type>\w+):)?(?P<relationship>\w+)\.(?P<field>\w+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What a preflight found out besides that all is well."""

    key: Field | None
    warnings: tuple[str, ...]


class Preflight:
    """The checks of one plan against one org."""

    def __init__(self, plan: Plan, client: Client) -> None:
        self._plan = plan
        self._client = client
        self._described: dict[str, ObjectDescription | None] = {}
        self._warnings: list[str] = []

    def check(self, columns: Iterable[SpooledColumn] | None) -> Findings:
        """Look at the object, the key and the columns (if they are known); nothing is written.

        Raises configuration ``UNKNOWN_OBJECT``, or ``UNFIT_COLUMNS`` that names all that is wrong with the columns, the
        key and the user's rights at once.
        """
        found = self._describe(self._plan.object)
        if found is None:
            raise configuration("UNKNOWN_OBJECT", self._unknown_object())
        key = found.field(self._plan.key) if self._plan.key is not None else None
        faults = list(self._key_faults(found, key))
        if columns is not None:
            known = tuple(columns)
            faults += self._right_faults(found)
            faults += self._column_faults(found, known)
            faults += self._lack_faults(found, known)
        if faults:
            raise configuration("UNFIT_COLUMNS", f"{found.name}: {'; '.join(faults)}")
        if self._plan.removal is Operation.HARD_DELETE:
            self._check_hard_delete()
        return Findings(key=key, warnings=tuple(self._warnings))

    def _describe(self, name: str) -> ObjectDescription | None:
        if name not in self._described:
            self._described[name] = describe(self._client, name)
        return self._described[name]

    def _check_hard_delete(self) -> None:
        """Open a BulkJob for hard deletes and abort it: describe does not tell who may. Raises configuration."""
        bulk = Bulk1(self._client)  # the permission is the same for both bulk APIs
        bulk.end(bulk.create(self._plan.removing()), "Aborted")

    def _unknown_object(self) -> str:
        near = _nearest(self._plan.object, object_names(self._client))
        return f"there is no object {self._plan.object}, or the user may not see it{near}"

    def _right_faults(self, found: ObjectDescription) -> Iterator[str]:
        operation = self._plan.operation
        if not found.createable and operation is not Operation.UPDATE:
            yield "the user may not create records"
        if not found.updateable and operation is not Operation.INSERT:
            yield "the user may not edit records"
        if (self._plan.removal is not None or self._plan.mirror) and not found.deletable:
            yield "the user may not delete records"

    def _key_faults(self, found: ObjectDescription, key: Field | None) -> Iterator[str]:
        wanted = self._plan.key
        if wanted is None:
            return
        if key is None:
            yield f"there is no field {wanted} to go by as key{_nearest(wanted, _names(found))}"
        elif self._plan.operation is Operation.UPSERT and not key.is_key and key.name != "Id":
            ids = [field.name for field in found.fields if field.is_key and field.name != "Id"]
            yield f"key {key.name} is no external id (external ids: {', '.join(ids) or 'none'})"
        elif (self._plan.lookup or (self._plan.mirror and key.name != "Id")) and not key.filterable:
            yield f"key {key.name} is of a kind that no query can look for: choose another field"

    def _column_faults(self, found: ObjectDescription, columns: tuple[SpooledColumn, ...]) -> Iterator[str]:
        seen: set[str] = set()
        for column in columns:
            if column.name.lower() in seen:
                yield f"column {column.name} goes out twice: field names know no case"
            seen.add(column.name.lower())
            if self._plan.lookup and column.name.lower() == "id":
                yield f"column Id has no place beside key {self._plan.key}, by which the Ids are looked up"
                continue
            if "." in column.name or ":" in column.name:
                yield from self._path_faults(found, column)
                continue
            field = found.field(column.name)
            if field is None:
                yield f"there is no field {column.name}{_nearest(column.name, _names(found))}"
            else:
                yield from self._write_faults(field)
                yield from _type_faults(column, field)

    def _write_faults(self, field: Field) -> Iterator[str]:
        if self._plan.key is not None and field.name.lower() == self._plan.key.lower():
            return
        match self._plan.operation:
            case Operation.INSERT if not field.createable:
                yield f"{field.name} cannot be set on new records"
            case Operation.UPDATE if not field.updateable:
                yield f"{field.name} cannot be changed"
            case Operation.UPSERT if not field.createable and not field.updateable:
                yield f"{field.name} cannot be written"
            case Operation.UPSERT if not field.createable or not field.updateable:
                where = "existing" if field.createable else "new"
                self._warnings.append(f"{field.name} cannot be set on {where} records: their rows will be refused")

    def _path_faults(self, found: ObjectDescription, column: SpooledColumn) -> Iterator[str]:
        match = _PATH.fullmatch(column.name)
        if match is None:
            yield f"{column.name} is no path to a parent: write Relationship.Field, one level deep"
            return
        link = found.by_relationship(match["relationship"])
        if link is None:
            names = [field.relationship for field in found.fields if field.relationship]
            yield f"there is no relationship {match['relationship']}{_nearest(match['relationship'], names)}"
            return
        yield from self._write_faults(link)
        if len(link.parents) > 1 and match["type"] is None:
            yield f"{column.name} may lead to {' or '.join(link.parents)}: write {link.parents[0]}:{column.name}"
            return
        if len(link.parents) == 1 and match["type"] is not None:
            yield f"{column.name} leads to {link.parents[0]} only: leave out {match['type']}:"
            return
        name = match["type"] or next(iter(link.parents), "")
        if name.lower() not in {parent.lower() for parent in link.parents}:
            yield f"{column.name} cannot lead to {name}{_nearest(name, link.parents)}"
            return
        yield from self._parent_faults(name, match["field"], column)

    def _parent_faults(self, name: str, wanted: str, column: SpooledColumn) -> Iterator[str]:
        parent = self._describe(name)
        field = parent.field(wanted) if parent is not None else None
        if parent is None:
            yield f"{column.name}: the user may not see {name}"
        elif field is None:
            yield f"{column.name}: {parent.name} has no field {wanted}{_nearest(wanted, _names(parent))}"
        elif not field.is_key and field.name != "Id":
            ids = [each.name for each in parent.fields if each.is_key]
            yield f"{column.name}: {field.name} is no external id of {parent.name} (those: {', '.join(ids) or 'none'})"

    def _lack_faults(self, found: ObjectDescription, columns: tuple[SpooledColumn, ...]) -> Iterator[str]:
        given = {column.name.lower() for column in columns}
        if self._plan.key is not None and self._plan.key.lower() not in given:
            yield f"the key {self._plan.key} is not among the columns"
        if self._plan.operation is Operation.UPDATE:
            return
        linked = {name.rpartition(":")[2].partition(".")[0] for name in given if "." in name}
        lacking = [
            field.name
            for field in found.fields
            if field.required and field.name.lower() not in given and (field.relationship or "").lower() not in linked
        ]
        if not lacking:
            return
        if self._plan.operation is Operation.INSERT:
            yield f"required, but not among the columns: {', '.join(lacking)}"
        else:
            self._warnings.append(f"new records will be refused for want of {', '.join(lacking)}")


def _type_faults(column: SpooledColumn, field: Field) -> Iterator[str]:
    family = next((name for name, pattern in _FAMILIES if pattern.match(column.type)), "text")
    if family == "nested":
        yield f"{column.name} is a {column.type.partition('<')[0]}: make it text in the query"
    elif field.type in _IMPOSSIBLE.get(family, frozenset()):
        yield f"{column.name} is a {family} ({column.type}), and the field {field.name} a {field.type}"


def _names(found: ObjectDescription) -> list[str]:
    return [field.name for field in found.fields]


def _nearest(wanted: str, names: Iterable[str]) -> str:
    """Say which names, at most three, come nearest to a wrong one."""
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(wanted.lower(), by_lower, n=3, cutoff=0.6)
    return f" (nearest: {', '.join(by_lower[name] for name in near)})" if near else ""

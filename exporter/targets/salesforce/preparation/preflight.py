"""Whether an object takes a result's columns, found out before anything is written."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exporter.failures import configuration
from exporter.spool.spool import SpooledColumn
from exporter.targets.salesforce.api.bulk1 import Bulk1
from exporter.targets.salesforce.api.client import Client
from exporter.targets.salesforce.api.describe import describe, key_prefixes, object_names
from exporter.targets.salesforce.export_plan import Operation, Plan
from exporter.targets.salesforce.fields import Field, ObjectDescription
from exporter.targets.salesforce.preparation.type_table import type_faults

if TYPE_CHECKING:
    from exporter.targets.salesforce.preparation.cell_check import CheckedColumn

_PATH = re.compile(r"(?:(?P<type>\w+):)?(?P<relationship>\w+)\.(?P<field>\w+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What a preflight found out besides that all is well: the key, warnings, and where the columns go."""

    key: Field | None
    warnings: tuple[str, ...]
    columns: "tuple[CheckedColumn, ...]" = ()


@dataclass(kw_only=True, slots=True)
class Known:
    """What an org has said so far, for all preflights of one run: it is asked once."""

    described: dict[str, ObjectDescription | None] = field(default_factory=dict)
    prefixes: Mapping[str, str] | None = None
    """What :func:`key_prefixes` said, if it was asked."""
    may_hard_delete: bool = False


class Preflight:
    """The checks of one plan against one org. What ``known`` has is not asked again, and what was asked is added."""

    def __init__(self, plan: Plan, client: Client, known: Known | None = None) -> None:
        self._plan = plan
        self._client = client
        self._known = known or Known()
        self._warnings: list[str] = []
        self._checked: list[CheckedColumn] = []

    def check(self, columns: Iterable[SpooledColumn] | None, *, complete: bool = True) -> Findings:
        """Check the object, the key and the columns (if they are known); nothing is written.

        ``complete`` false: there are more columns than these. Raises configuration ``UNKNOWN_OBJECT``, or
        ``UNFIT_COLUMNS`` that names all that is wrong with the columns, the key and the user's rights at once.
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
            faults += self._lack_faults(found, known) if complete else ()
        if faults:
            raise configuration("UNFIT_COLUMNS", f"{found.name}: {'; '.join(faults)}")
        if self._plan.removal is Operation.HARD_DELETE and not self._known.may_hard_delete:
            self._check_hard_delete()
        return Findings(key=key, warnings=tuple(self._warnings), columns=tuple(self._checked))

    def _describe(self, name: str) -> ObjectDescription | None:
        described = self._known.described
        if name.lower() not in described:
            described[name.lower()] = describe(self._client, name)
        return described[name.lower()]

    def _check_hard_delete(self) -> None:
        """Open a BulkJob for hard deletes and abort it: describe does not tell who may. Raises configuration."""
        bulk = Bulk1(self._client)  # the permission is the same for both bulk APIs
        bulk.end(bulk.create(self._plan.removing()), "Aborted")
        self._known.may_hard_delete = True

    def _unknown_object(self) -> str:
        name, names = self._plan.object, object_names(self._client)
        if name.lower() in {each.lower() for each in names}:
            return f"Salesforce lists the object {name}, but does not describe it: give the user access to it"
        return f"there is no object {name}, or the user may not see it{_nearest(name, names)}"

    def _right_faults(self, found: ObjectDescription) -> Iterator[str]:
        operation = self._plan.operation
        if not found.createable and operation is not Operation.UPDATE:
            yield "the user may not create records"
        if not found.updateable and operation is not Operation.INSERT:
            yield "the user may not edit records"
        if (self._plan.removal is not None or self._plan.mirror) and not found.deletable:
            yield "the user may not delete records"
        if (self._plan.removal is not None or self._plan.lookup or self._looks_up_gone) and not found.queryable:
            yield "the user may not query records"

    @property
    def _looks_up_gone(self) -> bool:
        """Whether a mirror finds the records that it deletes by another key than their Id."""
        return self._plan.mirror and self._plan.key != "Id"

    def _key_faults(self, found: ObjectDescription, key: Field | None) -> Iterator[str]:
        wanted = self._plan.key
        if wanted is None:
            return
        if key is None:
            yield f"there is no field {wanted} to go by as key{_nearest(wanted, _names(found))}"
        elif self._plan.operation is Operation.UPSERT and not key.is_key and key.name != "Id":
            ids = [each.name for each in found.fields if each.is_key and each.name != "Id"]
            yield f"key {key.name} is no external id (external ids: {', '.join(ids) or 'none'})"
        elif self._plan.operation is Operation.UPSERT and key.name != "Id" and not key.createable:
            what = "an auto-number" if key.auto_number else "read-only"
            yield (
                f"key {key.name} is {what}, so that no new record can get it: leave out upsert to update the records "
                "that there are by it, or choose an external id that can be written"
            )
        elif (self._plan.lookup or self._looks_up_gone) and not key.filterable:
            yield f"key {key.name} is of a kind that no query can look for: choose another field"

    def _column_faults(self, found: ObjectDescription, columns: tuple[SpooledColumn, ...]) -> Iterator[str]:
        seen: set[str] = set()
        setters: dict[str, str] = {}
        for column in columns:
            if column.name.lower() in seen:
                yield f"column {column.name} goes out twice: field names know no case"
                continue
            seen.add(column.name.lower())
            if self._plan.lookup and column.name.lower() == "id":
                yield f"column Id has no place beside key {self._plan.key}, by which the Ids are looked up"
                continue
            is_path = "." in column.name or ":" in column.name
            link = self._link(found, column.name) if is_path else found.field(column.name)
            if link is not None:
                first = setters.setdefault(link.name, column.name)
                if first != column.name:
                    yield f"{first} and {column.name} both set {link.name}: send only one of them"
            if is_path:
                yield from self._path_faults(found, column)
            elif link is None:
                yield f"there is no field {column.name}{_nearest(column.name, _names(found))}"
            else:
                yield from self._write_faults(found, link)
                yield from type_faults(column.name, column.type, link)
                self._note(found, column, link)

    def _link(self, found: ObjectDescription, path: str) -> Field | None:
        match = _PATH.fullmatch(path)
        return found.by_relationship(match["relationship"]) if match is not None else None

    def _prefix(self, name: str) -> str | None:
        """Return what the Ids of an object begin with; before a deletion one call is worth to know it."""
        described = self._known.described.get(name.lower())
        if described is not None:
            return described.key_prefix
        if self._plan.removal is None and not self._plan.mirror:
            return None
        if self._known.prefixes is None:
            self._known.prefixes = key_prefixes(self._client)
        return self._known.prefixes.get(name.lower())

    def _note(self, found: ObjectDescription, column: SpooledColumn, to: Field, parent: str | None = None) -> None:
        """Keep where a column goes, for the look at its cells; the key of a lookup goes nowhere.

        ``parent`` is the object to which a path leads, whose field ``to`` is.
        """
        from exporter.targets.salesforce.preparation.cell_check import CheckedColumn  # noqa: PLC0415 - pyarrow takes 0.2 s

        plan, is_own = self._plan, parent is None
        if plan.lookup and is_own and plan.key is not None and to.name.lower() == plan.key.lower():
            return
        named = ((found.name,) if to.type == "id" else to.parents) if is_own else (parent or "",)
        known = [self._prefix(name) for name in named] if is_own and to.plain_id else []
        described = self._known.described.get((parent or "").lower())
        can_look = described is not None and described.queryable and to.filterable
        prefixes = [prefix for prefix in known if prefix is not None]
        self._checked.append(
            CheckedColumn(
                name=column.name,
                type=column.type,
                field=to,
                inserts=plan.operation is Operation.INSERT,
                updates=plan.operation is not Operation.INSERT,
                is_own=is_own,
                parent=parent or "" if can_look else "",
                prefixes=prefixes if len(prefixes) == len(known) else (),
                to_deleted=plan.removal is not None
                and {name.lower() for name in named} == {found.name.lower()}
                and (not is_own or to.type == "reference"),
            )
        )

    def _write_faults(self, found: ObjectDescription, to: Field) -> Iterator[str]:
        if self._plan.key is not None and to.name.lower() == self._plan.key.lower():
            return
        why = _why_read_only(found, to)
        match self._plan.operation:
            case Operation.INSERT if not to.createable:
                yield f"{to.name} cannot be set on new records{why}"
            case Operation.UPDATE if not to.updateable:
                yield f"{to.name} cannot be changed{why}"
            case Operation.UPSERT if not to.createable and not to.updateable:
                yield f"{to.name} cannot be written{why}"
            case Operation.UPSERT if not to.createable or not to.updateable:
                where = "existing" if to.createable else "new"
                self._warnings.append(f"{to.name} cannot be set on {where} records: their rows will be rejected")

    def _path_faults(self, found: ObjectDescription, column: SpooledColumn) -> Iterator[str]:
        match = _PATH.fullmatch(column.name)
        if match is None:
            yield f"{column.name} is no path to a parent: write Relationship.Field, one level deep"
            return
        link = found.by_relationship(match["relationship"])
        if link is None:
            names = [each.relationship for each in found.fields if each.relationship]
            yield f"there is no relationship {match['relationship']}{_nearest(match['relationship'], names)}"
            return
        yield from self._write_faults(found, link)
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
        yield from self._parent_faults(found, name, match["field"], column)

    def _parent_faults(self, found: ObjectDescription, name: str, wanted: str, column: SpooledColumn) -> Iterator[str]:
        parent = self._describe(name)
        key = parent.field(wanted) if parent is not None else None
        if parent is None:
            yield f"{column.name}: the user may not see {name}"
        elif key is None:
            yield f"{column.name}: {parent.name} has no field {wanted}{_nearest(wanted, _names(parent))}"
        elif not key.is_key and key.name != "Id":
            ids = [each.name for each in parent.fields if each.is_key]
            yield f"{column.name}: {key.name} is no external id of {parent.name} (those: {', '.join(ids) or 'none'})"
        else:
            yield from type_faults(column.name, column.type, key)
            self._note(found, column, key, parent.name)

    def _lack_faults(self, found: ObjectDescription, columns: tuple[SpooledColumn, ...]) -> Iterator[str]:
        given = {column.name.lower() for column in columns}
        if self._plan.key is not None and self._plan.key.lower() not in given:
            yield f"the key {self._plan.key} is not among the columns"
        if self._plan.operation is Operation.UPDATE:
            return
        linked = {name.rpartition(":")[2].partition(".")[0] for name in given if "." in name}
        lacking = [
            each.name
            for each in found.fields
            if each.required and each.name.lower() not in given and (each.relationship or "").lower() not in linked
        ]
        if not lacking:
            return
        if self._plan.operation is Operation.INSERT:
            yield f"required, but not among the columns: {', '.join(lacking)}"
        else:
            self._warnings.append(f"new records will be rejected for want of {', '.join(lacking)}")


def _why_read_only(found: ObjectDescription, to: Field) -> str:
    """Say why a field cannot be written, where that is to be seen, and what to do instead."""
    parts = [each.name for each in found.fields if each.compound == to.name and each.name != to.name]
    if parts:
        return f": it is made of {', '.join(parts)}: send those"
    if to.auto_number:
        return ": Salesforce numbers it: leave it out"
    return ": Salesforce computes it: leave it out" if to.calculated else ""


def _names(found: ObjectDescription) -> list[str]:
    return [each.name for each in found.fields]


def _nearest(wanted: str, names: Iterable[str]) -> str:
    """Say which names, at most three, come nearest to a wrong one."""
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(wanted.lower(), by_lower, n=3, cutoff=0.6)
    return f" (nearest: {', '.join(by_lower[name] for name in near)})" if near else ""

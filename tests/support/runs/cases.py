"""One small export per mode, each with rows that are refused, and what has to be in the org when it is over."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from support.runs.exports import QuickControl, make_spool
from support.salesforce.emulator_org import csv_of, load

from exporter.emulator.fault_injection import RowFault
from exporter.emulator.server import Emulator
from exporter.spool.csv_batches import BatchLimits, spool_csv
from exporter.spool.spool import Spool

SCHEMA = {
    "objects": {
        "Thing__c": {
            "label": "Thing",
            "fields": {
                "Name": {"type": "string", "length": 80},
                "Ext_Id__c": {"type": "string", "length": 20, "external_id": True, "unique": True},
                "Code__c": {"type": "string", "length": 20},
                "Born__c": {"type": "date"},
                "Parent__c": {"type": "reference", "reference_to": ["Thing__c"]},
            },
        }
    }
}
NAMES = ("Name", "Ext_Id__c", "Code__c")
LONG = "x" * 81
Record = tuple[str | None, str | None, str | None]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Records that are there, rows that go out (in batches of two), and what is there afterwards.

    Of ``columns``, ``Id`` is filled in with the Id of the record that has the row's ``Ext_Id__c``.
    """

    options: Mapping[str, Any]
    there: tuple[Record, ...] = ()
    columns: tuple[str, ...] = NAMES
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[Record]
    rejected: tuple[int, ...]
    deleted: int = 0
    in_bin: int = 0
    faults: tuple[RowFault, ...] = ()
    batch_size: int = 2

    def prepare(self, emulator: Emulator, directory: Path) -> Spool:
        """Make the org what it is before the export, and return the export's spool, made anew."""
        emulator.faults.clear()
        for fault in self.faults:
            emulator.faults.add(fault)
        with emulator.org.store.writing() as db:
            db.execute('DELETE FROM "Thing__c"')
        if self.there:
            load(
                emulator.org,
                "insert",
                csv_of(NAMES, *[[cell or "" for cell in row] for row in self.there]),
                name="Thing__c",
            )
        ids = {record["Ext_Id__c"]: record["Id"] for record in emulator.org.records("Thing__c")}
        rows = [
            [
                ids.get(cell, "a00000000000000AAA") if name == "Id" else cell
                for name, cell in zip(self.columns, row, strict=True)
            ]
            for row in self.rows
        ]
        for left in (directory, directory.with_name(f"{directory.name}-deleted")):
            shutil.rmtree(left, ignore_errors=True)
        if not any("." in name for name in self.columns):
            return make_spool(directory, rows, names=self.columns, batch_size=self.batch_size)
        columns = dict(zip(self.columns, zip(*rows, strict=True), strict=True))
        spool = Spool(directory)
        limits = BatchLimits(rows=self.batch_size)
        control = QuickControl()
        spool_csv(pa.table(columns).to_reader(), spool, control=control, listen=lambda _event: None, limits=limits)
        return spool

    def lost_and_doubled(self, emulator: Emulator) -> tuple[int, int]:
        """Return how many records are missing, and how many are there that should not be."""
        found = [tuple(record[name] for name in NAMES) for record in emulator.org.records("Thing__c")]
        return len(self.left - {*found}), len(found) - len(self.left & {*found})


def names(emulator: Emulator) -> list[str]:
    """Return the names of the things in an org, in order."""
    return sorted(str(record["Name"]) for record in emulator.org.records("Thing__c"))


NEW = tuple((f"new {number}" if number != 3 else LONG, f"e{number}", f"c{number}") for number in range(1, 6))
OLD: tuple[Record, ...] = tuple((f"old {number}", f"e{number}", f"c{number}") for number in range(1, 6))
TAKEN: frozenset[Record] = frozenset(row for row in NEW if row[0] != LONG)
TWICE: tuple[Record, ...] = (*OLD, ("old 5 again", "f5", "c5"))

CASES = {
    "append": Case(options={}, rows=NEW, left=TAKEN, rejected=(3,)),
    "upsert": Case(
        options={"mode": "update", "upsert": True, "key": "Ext_Id__c"},
        there=OLD[:3],
        rows=(*NEW, ("double", "d", ""), ("double", "d", "")),
        left=TAKEN | {OLD[2]},
        rejected=(3, 6, 7),
    ),
    "update by Id": Case(
        options={"mode": "update", "key": "Id"},
        there=OLD,
        columns=("Id", "Name"),
        rows=tuple((ext, name) for name, ext, _ in NEW),
        left=TAKEN | {OLD[2]},
        rejected=(3,),
    ),
    "update by another key": Case(
        options={"mode": "update", "key": "Code__c"},
        there=TWICE,
        columns=("Code__c", "Name"),
        rows=(*((code, name) for name, _, code in NEW), ("nowhere", "x"), ("", "x")),
        left=(TAKEN - {NEW[4]}) | {OLD[2], *TWICE[4:]},
        rejected=(3, 5, 6, 7),
    ),
    "truncate": Case(options={"mode": "truncate"}, there=OLD, rows=NEW, left=TAKEN, rejected=(3,), deleted=5, in_bin=5),
    "truncate, dates": Case(
        options={"mode": "truncate"},
        there=OLD,
        columns=(*NAMES, "Born__c"),
        rows=tuple((*row, "never" if row[1] == "e5" else "2026-11-23") for row in NEW),
        left=TAKEN - {NEW[4]},
        rejected=(3, 5),
        deleted=5,
        in_bin=5,
    ),
    "truncate, hard": Case(
        options={"mode": "truncate", "hard_delete": True}, there=OLD, rows=NEW, left=TAKEN, rejected=(3,), deleted=5
    ),
    "truncate, empty": Case(
        options={"mode": "truncate", "allow_empty": True},
        there=OLD,
        rows=(),
        left=frozenset(),
        rejected=(),
        deleted=5,
        in_bin=5,
    ),
}
"""By name; each is run with both bulk APIs."""

SMALLEST_PIECE = 2
"""For the cases below: into how small pieces a batch falls that met too many locks."""
_CROWDED = ("TooManyLockFailure", "Too many lock failure 200 Trying again later.")
_IN_A_TRIGGER = (
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
    "T: execution of AfterInsert; first error: UNABLE_TO_LOCK_ROW, x",
)


def _resent(*faults: RowFault) -> Case:
    return Case(options={}, rows=NEW, left=TAKEN, rejected=(3,), faults=faults, batch_size=5)


RESENT = {
    "locks in a trigger": _resent(
        RowFault(object="Thing__c", column="Ext_Id__c", values=("e2", "e4"), error=_IN_A_TRIGGER),
        RowFault(object="Thing__c", column="Ext_Id__c", values=("e5",), times=3),
    ),
    "too many locks": _resent(
        RowFault(object="Thing__c", larger=2, times=1000, batch_message=" : ".join(_CROWDED), error=_CROWDED)
    ),
    "too many locks, a part processed": _resent(
        RowFault(
            object="Thing__c", larger=2, times=1000, batch_message=" : ".join(_CROWDED), error=_CROWDED, processed=2
        )
    ),
    "no rows taken for a while": _resent(
        RowFault(object="Thing__c", every=1, times=2, error=("SERVER_UNAVAILABLE", "not now"))
    ),
    "some without a parent": Case(
        options={"mode": "update", "upsert": True, "key": "Ext_Id__c"},
        there=OLD[:2],
        columns=(*NAMES, "Parent__r.Ext_Id__c"),
        rows=tuple((*row, "e1" if number % 2 else "") for number, row in enumerate(NEW)),
        left=TAKEN,
        rejected=(3,),
        faults=(RowFault(object="Thing__c", column="Ext_Id__c", values=("e2", "e5")),),
    ),
    "some without a parent, by another key": Case(
        options={"mode": "update", "key": "Code__c"},
        there=TWICE,
        columns=("Code__c", "Name", "Parent__r.Ext_Id__c"),
        rows=(
            *((code, name, "" if code in {"c1", "c4"} else "e1") for name, _, code in NEW),
            *(("nowhere", "x", ""), ("", "x", "e1")),
        ),
        left=(TAKEN - {NEW[4]}) | {OLD[2], *TWICE[4:]},
        rejected=(3, 5, 6, 7),
    ),
}
"""Exports whose rows do not go out as they came, once each and in their order: some again, some in other batches."""

"""Ledger, refused rows, nodes and settings."""

from dataclasses import replace

import pytest
from support.storage import NOON, at, claimed, new_run, token_of

from storage import key_values, nodes
from storage.database import Database, StorageError
from storage.nodes import Node
from storage.runs import ledger, rejections
from storage.runs.ledger import LedgerRow
from storage.runs.rejections import RejectedValues

NODE = Node(
    id="f00",
    host="db-1",
    boot_id="3c0",
    pid=4_194_304,
    pid_started="123456",
    version="0.1.0",
    started_at=at(0),
    seen_at=at(0),
    kind="daemon",
    info={"running": 2},
)


def refused(number: int, message: str = "m") -> RejectedValues:
    values = {"LastName": None, "Email": f"{number}@example.com"}
    return RejectedValues(number=number, values=values, code="REQUIRED_FIELD_MISSING", message=message)


def test_a_ledger_keeps_its_entries_in_order_over_several_attempts(database: Database) -> None:
    run, other = claimed(database), claimed(database, new_run("other"))
    rows = [
        LedgerRow(step="create", mark="intended", at=at(2)),
        LedgerRow(step="create", mark="done", at=at(1), data={"bulk_job": "750"}),
        *(LedgerRow(step="send", mark="intended", batch=number, at=at(1)) for number in (2, 0, 1)),
        LedgerRow(step="send", mark="intended", batch=2, at=at(1)),
    ]
    for row in rows:
        with database.write() as session:
            ledger.append(session, run.id, token_of(run), row)
            ledger.append(session, other.id, token_of(other), row)
    with database.read() as session:
        assert ledger.entries(session, run.id) == rows
        assert ledger.entries(session, 4711) == []


def test_an_entry_and_its_refused_rows_are_stored_both_or_neither(database: Database) -> None:
    run = claimed(database)
    row = LedgerRow(step="result", mark="done", batch=0, at=NOON)
    with database.write() as session:
        ledger.append(session, run.id, token_of(run), row, rejected=[refused(1), refused(7)])
    unfit = replace(refused(8), values={"a": object()})
    with pytest.raises(TypeError), database.write() as session:
        ledger.append(session, run.id, token_of(run), row, rejected=[refused(9), unfit])
    with database.read() as session:
        assert len(ledger.entries(session, run.id)) == 1
        assert [found.number for found in rejections.read(session, run.id)] == [1, 7]


def test_refused_rows_are_read_in_pages_by_number_and_a_repeated_one_is_replaced(database: Database) -> None:
    run, other = claimed(database), claimed(database, new_run("other"))
    with database.write() as session:
        rejections.add(session, run.id, [refused(number) for number in range(2500, 0, -1)])
        rejections.add(session, run.id, [refused(3, "changed"), refused(4), refused(4, "twice")])
        rejections.add(session, other.id, [refused(1)])
        rejections.add(session, run.id, [])
    with database.read() as session:
        assert rejections.count(session, run.id) == 2500
        pages = [rejections.read(session, run.id, after=after) for after in (0, 1000, 2000, 2500)]
        assert [len(page) for page in pages] == [1000, 1000, 500, 0]
        assert pages[0][:4] == [refused(1), refused(2), refused(3, "changed"), refused(4, "twice")]
        assert rejections.read(session, run.id, after=2498, limit=1) == [refused(2499)]
        assert [row.number for row in rejections.read(session, run.id, size=40)] == [1, 2, 3]
        assert [row.number for row in rejections.read(session, run.id, after=7, size=1)] == [8]


def test_what_belongs_to_no_run_is_refused(database: Database) -> None:
    with pytest.raises(StorageError), database.write() as session:
        rejections.add(session, 4711, [refused(1)])


def test_a_node_is_registered_seen_and_gone(database: Database) -> None:
    later = replace(NODE, id="b00", started_at=at(5), kind="cli", info={})
    with database.write() as session:
        nodes.register(session, later)
        nodes.register(session, replace(NODE, host="old"))
        nodes.register(session, NODE)
        assert nodes.all_nodes(session) == [NODE, later]
        assert nodes.touch(session, "f00", at(1))
        assert nodes.touch(session, "b00", at(6), {"queue": 3})
        assert not nodes.touch(session, "c00", at(6))
    with database.write() as session:
        seen = [replace(NODE, seen_at=at(1)), replace(later, seen_at=at(6), info={"queue": 3})]
        assert nodes.all_nodes(session) == seen
        nodes.gone(session, "f00")
        nodes.gone(session, "f00")
        assert nodes.all_nodes(session) == seen[1:]


def test_a_setting_is_what_was_put_last(database: Database) -> None:
    with database.write() as session:
        assert key_values.get(session, "tzdata") is None
        key_values.put(session, "tzdata", "2026a")
        key_values.put(session, "tzdata", "2026b")
    with database.read() as session:
        assert key_values.get(session, "tzdata") == "2026b"

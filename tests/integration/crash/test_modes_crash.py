"""The crash matrix over all modes and both bulk APIs, into the local Salesforce.

As in the matrix of one BulkJob, cells are not listed by hand: each entry that an undisturbed export writes into its
ledger makes a cell, killed after it; and one more, killed before it, where something happened outside since the entry
before. Nothing does but behind an intention, so that any other "before" is the same moment as the "after" of the last.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.runs.cases import CASES, RESENT, SCHEMA, SMALLEST_PIECE, Case
from support.runs.crash import FileLedger, Nursery, nursery

from exporter.emulator.server import Emulator
from exporter.ledger import Entry, Mark

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def cradle() -> Iterator[Nursery]:
    with nursery() as started:
        yield started


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(schema=SCHEMA) as served:
        yield served


class Matrix:
    """The cells of one mode on one bulk API."""

    def __init__(self, case: Case, bulk_api: str, emulator: Emulator, cradle: Nursery, directory: Path) -> None:
        self._case = case
        self._options = {"object": "Thing__c", "bulk_api": bulk_api, **case.options}
        self._emulator = emulator
        self._cradle = cradle
        self._directory = directory
        self.cells = 0
        self.lost = 0
        self.doubled = 0

    def undisturbed(self) -> Sequence[Entry]:
        """Run to the end and return the entries written."""
        return self.cell().entries()

    def cell(self, *kills: tuple[int, str]) -> FileLedger:
        """Kill one attempt after the other where ``kills`` say, then let one end, and judge."""
        spool = self._case.prepare(self._emulator, self._directory / "run-1")
        path = self._directory / "ledger"
        path.unlink(missing_ok=True)
        cell: dict[str, Any] = {
            "url": self._emulator.url,
            "spool": str(spool.directory),
            "ledger": str(path),
            "options": self._options,
            "smallest_piece": SMALLEST_PIECE,
        }
        for kill_at, kill in kills:
            status = self._cradle.run(cell | {"kill_at": kill_at, "kill": kill})
            if status == 0:  # a later attempt has less to write, and may end before it is killed
                break
            assert status == -signal.SIGKILL
        assert self._cradle.run(cell) == 0
        self.cells += 1
        ledger = FileLedger(path)
        lost, doubled = self._case.lost_and_doubled(self._emulator)
        self.lost, self.doubled = self.lost + lost, self.doubled + doubled
        assert sorted(ledger.rejected()) == list(self._case.rejected)
        assert self._emulator.org.count("Thing__c", deleted=True) == self._case.in_bin
        return ledger


@pytest.mark.parametrize("bulk_api", ["1", "2"])
@pytest.mark.parametrize("name", [*CASES, *RESENT])
def test_an_export_killed_around_any_effect_ends_with_each_row_once(  # noqa: PLR0917 - pytest's fixtures
    emulator: Emulator, cradle: Nursery, tmp_path: Path, name: str, bulk_api: str, record_property: Record
) -> None:
    matrix = Matrix((CASES | RESENT)[name], bulk_api, emulator, cradle, tmp_path)
    entries = matrix.undisturbed()
    for kill_at in range(1, len(entries) + 1):
        if kill_at == 1 or entries[kill_at - 2].mark is Mark.INTENDED:
            matrix.cell((kill_at, "before"))
        matrix.cell((kill_at, "after"))
    for kill_at in range(1, len(entries) // 2):
        matrix.cell((kill_at, "after"), (2, "after"), (1, "before"), (3, "before"))
    record_property(
        "cells", f"{name}, Bulk {bulk_api}: {matrix.cells} cells, duplicates {matrix.doubled}, lost {matrix.lost}"
    )
    assert (matrix.doubled, matrix.lost) == (0, 0)

"""How much memory DuckDB may take for one query: little at first, and more when that is too little.

DuckDB works on vectors of 2,048 rows, a number that is compiled into it, so what it needs grows with the width of rows.
A vector of cells of 131,072 characters is 256 MiB, which it allocates in one piece. Its own files hold long texts
compressed (ZSTD) by such vectors, of which it can only decompress one as a whole while it keeps all compressed pages of
it; the vector is then copied for the reader.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb

from exporter.failures import ExportError, configuration
from exporter.host.memory import machine_memory

MEMORY_LIMITS = (2**25, 2**26, *(part * 2**power for power in range(26, 39) for part in (2, 3)))
"""Bytes that the engine holds before it spills to disk, from 32 MiB: the first for a query that only scans, the second
for one that sorts, joins or groups, and the next when that is too little. Measured with 4,000,000 rows of 8 columns:
141 MiB for the whole process in the first, of which 100 MiB are Python and the two libraries, and 185 MiB in the
second."""
_MOST = 2**30
"""The largest limit of a connection that names none, in bytes, on a machine that has twice as much."""
_SIZES = re.compile(r"of size ([\d.]+) (bytes|[KMGT]iB) \(([\d.]+) (bytes|[KMGT]iB)/")
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_QUERIES = 1_000

Place = tuple[str, str]
"""A database's address and a query on it."""


@dataclass(kw_only=True, slots=True)
class Engine:
    """What connections of this process to one address share: how many they are, and the bytes they may take together.

    In memory, each connection has an engine of its own.
    """

    limit: int
    readers: int = field(default=0)


_engines: dict[str, Engine] = {}
_needs: dict[Place, int] = {}
"""Bytes that a query took in the middle of its rows, of those for which the first limits were too small."""
_lock = threading.Lock()


@contextmanager
def shared_engine(address: str | None, limit: int) -> Iterator[Engine]:
    """Count a reader of the engine of ``address`` (None: its own), which began with ``limit`` bytes."""
    if address is None:
        yield Engine(limit=limit, readers=1)
        return
    with _lock:
        engine = _engines.setdefault(address, Engine(limit=limit))
        engine.readers += 1
    try:
        yield engine
    finally:
        with _lock:
            engine.readers -= 1
            if not engine.readers:
                _engines.pop(address, None)


def remember_need(place: Place, limit: int) -> None:
    """Remember for as long as the process lives that the first limits are too small for a query."""
    with _lock:
        while len(_needs) >= _QUERIES:
            _needs.pop(next(iter(_needs)))
        _needs[place] = limit


def fitting_limits(limits: Sequence[int], most: int | None) -> tuple[int, ...]:
    """Return the limits up to ``most`` bytes, and that; by default 1 GiB, or half of what this process may take."""
    if most is None:
        most = min(max(machine_memory() // 2, limits[0]), _MOST, limits[-1])
    return (*(limit for limit in limits if limit < most), most)


class Room:
    """The memory of one read."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, engine: Engine, limits: Sequence[int], place: Place
    ) -> None:
        self._connection = connection
        self._engine = engine
        self._limits = limits
        self.place = place
        self._limit = limits[0]
        self.make(_needs.get(place, 0))

    def make_for_steps(self, steps: int) -> None:
        """Take the limit of that number, or the last."""
        self.make(self._limits[min(steps, len(self._limits) - 1)])

    def make(self, limit: int) -> None:
        """Take that limit; never a smaller one than another reader of the file has asked for."""
        limit = min(limit, self._limits[-1])
        self._limit = max(limit, self._limit)
        with _lock:
            if self._limit > self._engine.limit:
                self._connection.execute(f"set memory_limit = '{self._limit}B'")
                self._engine.limit = self._limit

    def larger(self, fault: ExportError) -> int:
        """Return the next limit that may be enough after a fault of memory, or raise what a user can do about it."""
        if "max_temp_directory_size" in fault.message:  # the disk is what is full
            raise fault
        sizes = _SIZES.search(fault.message)
        needed = 0.0 if sizes is None else float(sizes[1]) * _UNITS[sizes[2]] + float(sizes[3]) * _UNITS[sizes[4]]
        enough = next((limit for limit in self._limits if limit > max(self._limit, needed)), None)
        if enough is not None:
            return enough
        if self._limit < self._limits[-1]:  # what it asks for is more, but it may do with less
            return self._limits[-1]
        if self._engine.readers > 1:  # they share the memory: later there may be enough of it
            raise fault
        raise configuration(
            "OUT_OF_MEMORY",
            f"The query takes more memory than the {self._limit // 10**6} MB that DuckDB may use, which works on 2,048 "
            "rows at once: set memory_limit of the connection to more, or select fewer or shorter texts",
        ) from fault

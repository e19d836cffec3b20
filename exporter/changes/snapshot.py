"""The snapshot: what a target is known to hold of a job's rows, as one Parquet file that is written once.

Its columns: ``key`` (see :mod:`exporter.changes.digests`); ``digest`` of the row as it was accepted last, empty
where the row has to be sent again whatever it holds; ``text`` of the key, where that is one cell; ``doubt``: the row
was handed over, and nobody knows whether it arrived; and ``part`` (see :mod:`exporter.changes.parts`).
"""

import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from exporter.changes.duckdb_engine import comparing, faults
from exporter.changes.key_form_change import with_form
from exporter.changes.parts import Clustered, clustered_writer, parts_of, write_clustered
from exporter.changes.rules import Fate
from exporter.changes.staging import SNAPSHOT, Staging, sync_file, usable
from exporter.host.durable_files import make_directory, sync_directory


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A snapshot that was written: its file, its keys, and how many of them are in doubt."""

    file: Path
    rows: int
    doubtful: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a run ended, as far as the next snapshot has to know.

    ``fates`` are those of the rows that were to be sent, by their number among these, from 1. ``complete`` says that
    the result as a whole was exported, so that keys which are not in it left it; ``kept`` are the numbers (ranges of
    the file of gone keys) whose records may be there all the same. ``resend`` says that every row was to be sent.
    ``inserts`` says that a row sent twice would be there twice, so that one of unknown fate is kept in doubt.
    ``doubts_arrived`` says what to take rows for that were in doubt before.
    """

    fates: Mapping[int, int] | bytearray
    complete: bool
    inserts: bool
    resend: bool = False
    doubts_arrived: bool = True
    kept: Iterable[tuple[int, int]] = ()


def write_snapshot(directory: Path, name: str, staging: Staging, before: Path | None, ending: Ending) -> Snapshot:
    """Write the snapshot that follows from ``before`` (None: there was none) into ``directory``, durably.

    The file's name begins with ``name`` and is new. Raises ExportError.
    """
    token = secrets.token_hex(4)
    file, partial = directory / f"{name}-{token}.parquet", directory / f".{name}-{token}.partial"
    with faults(directory):
        make_directory(directory)
    rows = doubtful = 0
    try:
        with faults(directory), comparing(staging.directory) as connection:
            snapshot, planned, gone = staging.beside(before), staging.planned(ending.fates), staging.gone_keys()
            kept = _ranges(ending.kept)
            with clustered_writer(partial, with_form(SNAPSHOT, staging.form)) as writer:
                for part in staging.parts(snapshot.counts, gone.counts):
                    connection.register("s", usable(snapshot.read(part), doubts_arrived=ending.doubts_arrived))
                    connection.register("planned", planned.read(part))
                    connection.register("g", gone.read(part))
                    connection.register("k", kept)
                    made = connection.sql(_sql(ending)).to_arrow_table().cast(SNAPSHOT)
                    write_clustered(writer, made)
                    rows += made.num_rows
                    doubtful += pc.sum(made["doubt"]).as_py() or 0
            partial.chmod(0o600)
            sync_file(partial)
            partial.rename(file)
            sync_directory(directory)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return Snapshot(file=file, rows=rows, doubtful=doubtful)


def is_sound(file: Path) -> bool:
    """Whether a snapshot can be read from beginning to end."""
    try:
        snapshot = Clustered(file, SNAPSHOT)
        for part in parts_of(snapshot.counts):
            snapshot.read(part)
    except (OSError, pa.ArrowException, ValueError, KeyError):
        return False
    return True


def _sql(ending: Ending) -> str:
    """Return the query for the next snapshot.

    A row that was accepted is in it as it was sent. One of unknown fate is either kept in doubt or to be sent again.
    What was refused or not sent leaves its key as it was. Keys that left a complete result are out, but for those whose
    records are not known to be deleted: they stay to be deleted, or sent if they come back. A key that several rows
    have is neither settled nor gone.
    """
    unknown = "d.digest" if ending.inserts else "''::blob"
    again = "true" if ending.resend else "l.key is not null"
    stays = "d.key is not null or h.key is not null or l.key is not null" if ending.complete else "true"
    return f"""
        select coalesce(d.key, s.key) as key,
          case when d.fate = {Fate.ACCEPTED} then d.digest
               when d.fate = {Fate.UNKNOWN} then {unknown}
               when {again} then ''::blob
               else s.digest end as digest,
          case when d.fate in ({Fate.ACCEPTED}, {Fate.UNKNOWN}) then d.text else s.text end as text,
          {"true" if ending.inserts else "false"} and coalesce(d.fate = {Fate.UNKNOWN}, false) as doubt,
          coalesce(d.part, s.part) as part
        from (select * from planned where not shared) d full join s on s.key = d.key
          left join (select distinct key from planned where shared) h on h.key = s.key
          left join (select g.key from g join k on g.number between k.first and k.last) l on l.key = s.key
        where coalesce(d.fate in ({Fate.ACCEPTED}, {Fate.UNKNOWN}), false)
           or (s.key is not null and ({stays}))"""  # noqa: S608 - numbers and words of our own


def _ranges(ranges: Iterable[tuple[int, int]]) -> pa.Table:
    pairs = list(ranges)
    columns = [pa.array([pair[place] for pair in pairs], pa.int64()) for place in (0, 1)]
    return pa.table(columns, names=["first", "last"])

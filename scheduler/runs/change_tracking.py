"""What a run of a change-only job does beside an ordinary one: it compares before it spools, and remembers at its end.

The spool's manifest carries a note (:class:`Comparison`) of where the staged result lies and which snapshot it was
compared with. When the run has ended, the next snapshot is written to a file of its own, and the transaction
that settles the run has the job's snapshot point to it: both or neither.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Self

from exporter.changes.rules import ChangeCounts, ChangeRules, Fate, check_deletions
from exporter.events import ChangesFound
from exporter.failures import ExportError, configuration, internal
from exporter.settings.connection import Connection
from exporter.spool.spool import Spool, SpoolManifest
from exporter.targets.row_outcomes import fates, inserts, kept
from exporter.targets.target import Target
from scheduler.jobs.change_rules import scope_of
from scheduler.jobs.definition import Job
from scheduler.runs.context import RunWork, StoredLedger, log
from scheduler.runs.spool_identity import GONE, check_bound, has_acted
from storage.database import Database, Session
from storage.jobs import snapshots
from storage.jobs.snapshots import StoredSnapshot
from storage.runs import ledger, rejections

if TYPE_CHECKING:
    import pyarrow as pa

    from exporter.changes.staging import Staging


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What a spool's manifest keeps of how its rows were chosen.

    ``staging`` is a directory beside the spool; ``revision`` that of the snapshot compared with (0: none), ``scope``
    the target's. ``whole`` says that the rows were a query's whole result, and not what another run had refused.
    """

    staging: str
    revision: int
    scope: str
    whole: bool
    mirror: bool
    counts: ChangeCounts
    gone_seal: str | None = None
    """The seal of the spool of the keys that left: a mirror deletes by no other."""

    @classmethod
    def of(cls, manifest: SpoolManifest | None) -> Self | None:
        """Return what a manifest keeps, if it is one of a change-only run."""
        if manifest is None or "changes" not in manifest.note:
            return None
        kept_there = dict(manifest.note["changes"])
        return cls(**{**kept_there, "counts": ChangeCounts(**kept_there["counts"])})

    def found(self) -> ChangesFound:
        """Return the event of it."""
        counts = self.counts
        return ChangesFound(new=counts.new, changed=counts.changed, unchanged=counts.unchanged, gone=counts.gone)

    def gone(self, spool: Spool) -> Spool | None:
        """Return the spool of the keys whose records a mirror deletes, if there are any.

        Raises internal ``SPOOL_GONE`` if it is not the one that was written then.
        """
        if not self.mirror or not self.counts.gone:
            return None
        from exporter.changes.staging import Staging  # noqa: PLC0415 - DuckDB, for mirrors only

        keys = Staging(spool.directory.with_name(self.staging)).gone
        if self.gone_seal is not None and keys.seal() != self.gone_seal:
            raise internal(GONE, f"{keys.directory}, the keys whose records this mirror deletes, is missing or changed")
        return keys


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """The snapshot that rows are compared with; ``file`` is None where nothing is known to be at the target."""

    revision: int = 0
    file: Path | None = None
    resend: bool = False
    doubts_arrived: bool = True


def find_base(database: Database, job: str, scope: str) -> Base:
    """Return the snapshot to compare with. Raises configuration where it cannot be relied on, and says what to do."""
    with database.read() as session:
        stored = snapshots.get(session, job)
    if stored is None:
        return Base()
    if not stored.resend:
        _check_usable(stored, scope if stored.scope not in {"", scope} else None)
    file = _usable_file(stored, scope)
    if file is None and stored.file is not None and not stored.resend:
        code, what = "SNAPSHOT_DAMAGED", "cannot be read"
        if not Path(stored.file).is_file():
            code, what = "SNAPSHOT_MISSING", "is gone, or lies on another host"
        raise configuration(
            code,
            f"{stored.file} {what}: it says which rows were sent. Put it back, or have schedctl resync {job} send all "
            "of them again",
        )
    return Base(
        revision=stored.revision,
        file=file,
        resend=stored.resend,
        doubts_arrived=stored.decision == "sent" or not stored.doubtful,
    )


def _usable_file(stored: StoredSnapshot, scope: str) -> Path | None:
    """Return the snapshot's file, if it says something of this target and can be read."""
    from exporter.changes.snapshot import is_sound  # noqa: PLC0415 - DuckDB, for those jobs only

    if stored.file is None or (stored.resend and stored.scope not in {"", scope}):
        return None
    file = Path(stored.file)
    return file if file.is_file() and is_sound(file) else None


def _check_usable(stored: StoredSnapshot, elsewhere: str | None) -> None:
    job = stored.job
    if elsewhere is not None:
        raise configuration(
            "SNAPSHOT_ELSEWHERE",
            f"what was sent so far went to {stored.scope}, and now it is {elsewhere}: schedctl resync {job} sends "
            f"every row there, schedctl resync {job} --adopt takes the rows for sent",
        )
    if stored.lost_run_id is not None:
        raise configuration(
            "SNAPSHOT_INCOMPLETE",
            f"which rows run {stored.lost_run_id} got accepted could not be kept: compare the records with the query, "
            f"then schedctl resync {job} sends every row again, schedctl resync {job} --adopt goes on as it is",
        )
    if stored.doubtful and stored.decision is None:
        raise configuration(
            "ROWS_IN_DOUBT",
            f"{stored.doubtful:,} rows were handed over by run {stored.run_id}, and nobody knows whether they arrived: "
            f"look there, then schedctl resync {job} --sent or schedctl resync {job} --unsent",
        )


def stage(work: RunWork, rules: ChangeRules, rows: "pa.RecordBatchReader", target: Target) -> "Staging":
    """Write a result to disk, to be compared once its source is closed. Raises ExportError."""
    from exporter.changes.staging import Staging  # noqa: PLC0415 - the same
    from exporter.rows.casts import TextCast  # noqa: PLC0415 - DuckDB and pyarrow, for those jobs only

    discard_stagings(work)
    staging = Staging(work.spool.directory.with_name(f"{work.spool.directory.name}-changes-{token_hex(4)}"))
    staging.fill(rows, TextCast(rows.schema, target.text_rules()), rules, control=work.control)
    return staging


@contextmanager
def select_changes(
    work: RunWork, job: Job, staging: "Staging", rules: ChangeRules, connection: Connection, *, whole: bool
) -> "Iterator[tuple[pa.RecordBatchReader, Spool]]":
    """Give the staged rows that differ from what the target holds, and the spool to fill with them.

    ``whole`` says that the rows are a query's whole result. Once the block has filled the spool, the staged rows are
    removed. Raises ExportError.
    """
    scope = scope_of(job, connection)
    base = find_base(work.database, job.name, scope)
    counts = staging.compare(base.file, rules, doubts_arrived=base.doubts_arrived, resend=base.resend or not whole)
    mirror = whole and rules.mode == "mirror"
    if mirror and job.max_deletes is not None:
        check_deletions(counts, job.max_deletes)
    found = Comparison(
        staging=staging.directory.name,
        revision=base.revision,
        scope=scope,
        whole=whole,
        mirror=mirror,
        counts=counts,
        gone_seal=staging.gone.seal() if mirror and counts.gone else None,
    )
    log.info("changes.found", new=counts.new, changed=counts.changed, unchanged=counts.unchanged, gone=counts.gone)
    work.hear(found.found())
    yield staging.selected(), work.spool.noting({"changes": asdict(found)})
    staging.forget_rows()


def is_outdated(work: RunWork) -> bool:
    """Whether the spool's rows were chosen beside a snapshot that is another one by now, and none was handed over."""
    found = Comparison.of(work.spool.manifest())
    if found is None:
        return False
    with work.database.read() as session:
        stored = snapshots.get(session, work.run.job)
        return (stored.revision if stored else 0) != found.revision and not ledger.entries(session, work.run.id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A snapshot's next state, to be stored in the transaction that settles the run."""

    job: str
    before: int
    values: Mapping[str, Any]
    replaced: Path | None = None

    def store(self, session: Session, work: RunWork) -> bool:
        """Store it; False if the snapshot changed meanwhile."""
        return snapshots.put(session, self.job, self.values, before=self.before, now=work.clock())

    def clean(self, *, stored: bool) -> None:
        """Remove the file that is of no use any more."""
        useless = self.replaced if stored else self.values.get("file")
        if useless is not None:
            with suppress(OSError):
                Path(useless).unlink(missing_ok=True)


def next_snapshot(work: RunWork, job: Job) -> Move | None:
    """Write what follows from a run that has ended; None for one that compared nothing. Raises ExportError."""
    from exporter.changes.snapshot import Ending, write_snapshot  # noqa: PLC0415 - DuckDB, for those jobs only
    from exporter.changes.staging import Staging  # noqa: PLC0415 - the same

    rows, manifest = work.entries(), work.spool.manifest()
    if has_acted(rows):
        check_bound(work.spool, rows)
    found = Comparison.of(manifest)
    if manifest is None or found is None:
        return None
    known, fate = row_fates(work, job, manifest)
    with work.database.write() as session:
        stored, mark = snapshots.get(session, job.name), snapshots.mark(session)
    staging = Staging(work.spool.directory.with_name(found.staging))
    staging.check()
    gone = found.gone(work.spool)
    before = _usable_file(stored, found.scope) if stored is not None else None
    if before is None and stored is not None and stored.file is not None and not stored.resend:
        # Without it, what was not sent because it is there already would be forgotten, and sent once more.
        raise internal("SNAPSHOT_LOST", f"{stored.file} went away, or was damaged, while a run was compared with it")
    resend = stored is not None and stored.resend
    written = write_snapshot(
        work.config.storage.snapshots,
        f"{mark}-{job.name}-{work.run.id}",
        staging,
        before,
        Ending(
            fates=fate,
            complete=found.whole and known + manifest.rejected == manifest.rows,
            inserts=inserts(job.export.options),
            resend=resend,
            doubts_arrived=stored is None or stored.decision == "sent" or not stored.doubtful,
            kept=list(kept(job.export.options, gone, StoredLedger(work))) if gone is not None else (),
        ),
    )
    values = {
        "file": str(written.file.absolute()),
        "scope": found.scope,
        "rows": written.rows,
        "doubtful": written.doubtful,
        "decision": None,
        # What a person asked for while the run went on is still to be done.
        "resend": resend and stored is not None and stored.revision != found.revision,
        "run_id": work.run.id,
        "lost_run_id": None,
    }
    revision = stored.revision if stored is not None else 0
    old = Path(stored.file) if stored is not None and stored.file is not None else None
    return Move(job=job.name, before=revision, values=values, replaced=old)


def lost_snapshot(work: RunWork) -> Move | None:
    """Return the state of a snapshot that lacks what this run got accepted, if the run is of a change-only job."""
    binding, scope = work.binding(), None
    with suppress(ExportError):  # a spool that is gone, or damaged, tells nothing: the ledger does
        found = Comparison.of(work.spool.manifest())
        scope = found.scope if found is not None else None
    if binding is not None and binding.scope is not None:
        scope = binding.scope
    if scope is None:
        return None
    with work.database.read() as session:
        stored = snapshots.get(session, work.run.job)
    values = {"scope": scope, "lost_run_id": work.run.id}
    return Move(job=work.run.job, before=stored.revision if stored is not None else 0, values=values)


def discard_stagings(work: RunWork) -> None:
    """Remove what the run staged, in this attempt or an earlier one."""
    for directory in work.spool_root.glob(f"{work.spool.directory.name}-changes-*"):
        shutil.rmtree(directory, ignore_errors=True)


def sweep_snapshots(database: Database, directory: Path, before: float) -> int:
    """Remove those of this database's snapshot files in ``directory`` that nothing names and that are older.

    ``before`` is a Unix time. Whatever else lies there, of another database or a person's, is left alone.
    """
    with database.read() as session:
        named, mark = snapshots.files(session), snapshots.known_mark(session)
    removed = 0
    if mark is None:
        return removed
    for file in [*directory.glob(f"{mark}-*.parquet"), *directory.glob(f".{mark}-*.partial")]:
        with suppress(OSError):
            if str(file.absolute()) not in named and file.stat().st_mtime < before:
                file.unlink()
                removed += 1
    return removed


def row_fates(work: RunWork, job: Job, manifest: SpoolManifest) -> tuple[int, bytearray]:
    """Return how many rows of the spool have a known fate, and the fate of each by its number."""
    fate = bytearray([Fate.UNSENT]) * (manifest.rows + 1)
    known = 0
    for number, is_known in fates(job.export.options, work.spool, StoredLedger(work)):
        fate[number] = Fate.ACCEPTED if is_known else Fate.UNKNOWN
        known += is_known
    after = 0
    while True:
        with work.database.read() as session:
            page = rejections.read(session, work.run.id, after=after)
        for row in page:
            fate[row.number] = Fate.UNSENT
        if not page:
            return known, fate
        after = page[-1].number

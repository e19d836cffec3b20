"""A directory that receives files: CSV, JSON Lines or Parquet (see :mod:`exporter.targets.file.formats`).

A file appears as a whole or not at all, and replaces one of its name: it is written beside its place under another
name, made durable, and renamed. To do that twice, after a crash between the rename and the ledger, changes nothing.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.events import BatchSent, BatchSettled, Listener
from exporter.failures import configuration, internal
from exporter.host.durable_files import create_file, disk_fault, make_directory, sync_directory, write_all
from exporter.ledger import Control, Entry, Ledger, Mark
from exporter.report import ExportReport, Known, Refusal, count_refusals
from exporter.settings.file import FileConnection, FileExport
from exporter.spool.spool import Spool, SpooledBatch, SpoolManifest
from exporter.targets.target import ExportContext

if TYPE_CHECKING:
    import pyarrow as pa

    from exporter.rows.casts import TextRules

_PUBLISH = "file.publish"
_REFUSE = "file.refuse"
_BLOCK = 1 << 20
_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Standing:
    """What the ledger says of a run: how far the rejected rows were written down, and whether the file is in place."""

    report: ExportReport
    refused_through: int
    published: bool


class FileTarget:
    """One file per run; implements :class:`~exporter.targets.target.Target`. Opens nothing between calls.

    The job's name and scheduled time, which the file's name may hold, come with each :class:`ExportContext`.
    """

    def __init__(self, connection: FileConnection, options: FileExport) -> None:
        """Raise configuration ``FILE_NAME`` for a name that is none, or leads out of the directory."""
        self._directory = Path(connection.directory)
        self._options = options
        self._format = _format(options.file)
        file_name(options.file, job="job", scheduled_time=datetime(2026, 1, 1, tzinfo=UTC))

    def text_rules(self) -> "TextRules":
        """Return the plainest rules: what a file holds has no limits of its own."""
        from exporter.rows.casts import TextRules  # noqa: PLC0415 - pyarrow takes 0.2 s

        return TextRules()

    def prepare(self, names: Sequence[str], *, complete: bool, control: Control, listen: Listener) -> None:  # noqa: ARG002 - the protocol's shape
        """Raise if the directory cannot be written, or made."""
        self.check()

    def key_form(self, *, control: Control, listen: Listener) -> None:
        """Return None: a file has no key."""

    def fill(self, rows: "pa.RecordBatchReader", spool: Spool, *, control: Control, listen: Listener) -> None:
        """Write every row into the spool as the finished file; see the protocol."""
        from exporter.targets.file.formats import fill_file  # noqa: PLC0415 - pyarrow takes 0.2 s

        fill_file(self._format, rows, spool, control=control, listen=listen)

    def export(self, spool: Spool, context: ExportContext) -> ExportReport:
        """Put the spool's file in its place; see the protocol."""
        manifest = spool.manifest()
        if manifest is None or len(manifest.batches) != 1:
            raise internal("SPOOL_INCOMPLETE", f"The spool {spool.directory} does not hold one finished file")
        batch = manifest.batches[0]
        name = file_name(self._options.file, job=context.job, scheduled_time=context.scheduled_time)
        _refuse(spool, context)
        context.listen(BatchSent(batch=batch.number, rows=batch.rows))
        if not _standing(context.ledger).published:
            data = {"file": name, "rows": batch.rows, "bytes": batch.bytes, "sha256": batch.sha256}
            context.ledger.append(Entry(step=_PUBLISH, mark=Mark.INTENDED, batch=batch.number, data=data))
            self._publish(spool, batch, name, context)
            context.ledger.append(Entry(step=_PUBLISH, mark=Mark.DONE, batch=batch.number, data=data))
        context.listen(BatchSettled(batch=batch.number, accepted=batch.rows, rejected=0))
        return _report(manifest, _standing(context.ledger))

    def abort(self, spool: Spool, context: ExportContext) -> None:  # noqa: ARG002 - the protocol's shape
        """Remove what an earlier :meth:`export` left unfinished. A file that is in its place stays."""
        self.abandon(context)

    def abandon(self, context: ExportContext) -> None:
        """Remove what an earlier :meth:`export` left unfinished: that needs no spool."""
        name = file_name(self._options.file, job=context.job, scheduled_time=context.scheduled_time)
        self._remove_partial(self._partial_prefix(name, context))

    def check(self, columns: "pa.Schema | None" = None) -> None:
        """Raise if the directory cannot be written, or made, or the columns have no form in the format."""
        nearest = next((each for each in (self._directory, *self._directory.parents) if each.exists()), Path("/"))
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise configuration(
                "DIRECTORY_NOT_WRITABLE", f"Cannot write below {self._directory}: name another or give us rights"
            )
        if columns is not None:
            from exporter.targets.file.formats import check_columns  # noqa: PLC0415 - pyarrow takes 0.2 s

            check_columns(self._format, columns)

    def _publish(self, spool: Spool, batch: SpooledBatch, name: str, context: ExportContext) -> None:
        prefix = self._partial_prefix(name, context)
        partial = self._directory / f"{prefix}{secrets.token_hex(4)}.partial"
        try:
            make_directory(self._directory, mode=0o777)  # what the umask leaves of it, as for any user's file
            self._remove_partial(prefix)
            descriptor = create_file(partial, mode=0o666)
            try:
                _copy(spool, batch, descriptor, context.control)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            partial.rename(self._directory / name)
            sync_directory(self._directory)
        except OSError as error:
            raise disk_fault(error, self._directory) from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _partial_prefix(self, name: str, context: ExportContext) -> str:
        return f".schedctl-{context.run_id}-{hashlib.sha256(name.encode()).hexdigest()[:8]}-"

    def _remove_partial(self, prefix: str) -> None:
        """Remove the unfinished files of this run, so that a process that lost it can no longer rename its own."""
        try:
            for left in self._directory.glob(f"{prefix}*.partial"):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise disk_fault(error, self._directory) from error


def fates(spool: Spool, ledger: Ledger) -> Iterator[tuple[int, bool]]:
    """Yield the number of every row once the file is in its place, and that its fate is known."""
    manifest = spool.manifest()
    if manifest is not None and _standing(ledger).published:
        yield from ((number, True) for batch in manifest.batches for number in batch.row_numbers())


def known(ledger: Ledger) -> Known:
    """Count what is in the file, once the ledger says that it is in its place."""
    standing = _standing(ledger)
    intended = [entry for entry in ledger.entries() if entry.step == _PUBLISH]
    doubts = [f"whether the file {entry.data['file']} is in its place" for entry in intended[-1:]]
    return Known(
        report=standing.report, settled=int(standing.published), doubts=() if standing.published else tuple(doubts)
    )


def file_name(template: str, *, job: str, scheduled_time: datetime) -> str:
    """Fill in ``{job}``, ``{scheduled_time}`` (``20261123T030000Z``) and ``{date}`` (``2026-11-23``), both in UTC.

    Raises configuration ``FILE_NAME`` if the result is no plain name of a file of a known format.
    """
    moment = scheduled_time.astimezone(UTC)
    name = template.replace("{scheduled_time}", moment.strftime("%Y%m%dT%H%M%SZ"))
    name = name.replace("{date}", moment.strftime("%Y-%m-%d")).replace("{job}", job)
    if any(character in name for character in "/\0{}") or name.startswith("."):
        raise configuration("FILE_NAME", f"{name!r} is no file name: it may hold no / and begin with no dot")
    _format(name)
    return name


def _format(name: str) -> str:
    found = _FORMATS.get(Path(name).suffix)
    if found is None:
        raise configuration("FILE_NAME", f"{name!r} ends in no known format: use .csv, .jsonl or .parquet")
    return found


def _copy(spool: Spool, batch: SpooledBatch, descriptor: int, control: Control) -> None:
    digest = hashlib.sha256()
    with spool.path(batch).open("rb") as content:
        while block := content.read(_BLOCK):
            control.check()
            digest.update(block)
            write_all(descriptor, block)
    if digest.hexdigest() != batch.sha256:
        raise internal("SPOOL_DAMAGED", f"The spool {spool.directory} is damaged: {batch.file} is not what was written")


def _refuse(spool: Spool, context: ExportContext) -> None:
    """Write down the rows that are not in the file, some at a time, from where an earlier attempt stood."""
    through = _standing(context.ledger).refused_through
    for some in spool.rejected_after(through):
        refusals = [{"code": each.code, "message": each.message, "count": each.count} for each in count_refusals(some)]
        data = {"through": some[-1].number, "rejected": len(some), "refusals": refusals}
        context.ledger.append(Entry(step=_REFUSE, mark=Mark.DONE, data=data), rejected=some)


def _standing(ledger: Ledger) -> _Standing:
    report, through, published = ExportReport(), 0, False
    for entry in ledger.entries():
        data: Any = entry.data
        if entry.step == _REFUSE:
            through = data["through"]
            report = report.plus(rejected=data["rejected"], refusals=[Refusal(**each) for each in data["refusals"]])
        elif entry.step == _PUBLISH and entry.mark is Mark.DONE:
            published = True
            report = report.plus(accepted=data["rows"])
    return _Standing(report=report, refused_through=through, published=published)


def _report(manifest: SpoolManifest, standing: _Standing) -> ExportReport:
    counted = standing.report
    report = ExportReport(read=manifest.rows).plus(
        accepted=counted.accepted, rejected=counted.rejected, refusals=counted.refusals
    )
    if not report.adds_up:
        raise internal(
            "COUNTS_DIFFER", f"{report.read} rows were read, {report.accepted + report.rejected} accounted for"
        )
    return report

"""The spool: a query's whole result on disk, as ready-to-send files, before anything is sent.

A spool is complete or it is nothing. Its directory holds ``manifest.json``, which appears in one step when all else is
durable, and one subdirectory that the writer made for its files. A second writer takes that subdirectory away from
one that was left behind, so a process that wakes up late cannot add to, or complete, what it no longer owns.

``owner.json`` says whose spool it is. ``sent-from`` appears before the first effect outside: from then on the spool and
the ledger must both be there, and each must name the other. Its length counts the effects, so that a ledger that knows
of fewer is one that was restored from a backup.
"""

import base64
import csv
import hashlib
import io
import itertools
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from exporter.failures import ExportError, internal
from exporter.host.durable_files import check_room, create_file, disk_fault, make_directory, sync_directory, write_all
from exporter.host.regular_files import open_regular
from exporter.report import RejectedRow

_MANIFEST = "manifest.json"
_REJECTED = "rejected.jsonl"
_FILLING = "filling-"
_OWNER = "owner.json"
_SENT_FROM = "sent-from"
_VERSION = 1
_SOME_ROWS = 1_000
_SOME_CHARACTERS = 4_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SpooledColumn:
    """A column as it goes out: its name, and the Arrow type it had before it became text (such as ``int64``)."""

    name: str
    type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SpooledBatch:
    """One ready-to-send file.

    ``number`` counts from 1; ``file`` is relative to the spool's directory; ``rows`` and ``bytes`` are what is in it.
    Its rows are those of the query's result from ``first_row`` on (counted from 1), without the row numbers ``gaps``;
    or, if rows were picked for it, those of :func:`pick`. The columns ``left_out`` are not in it: they are empty in all
    of its rows.
    """

    number: int
    file: str
    rows: int
    bytes: int
    sha256: str
    first_row: int
    gaps: tuple[int, ...] = ()
    picked: str = ""
    left_out: tuple[str, ...] = ()

    def row_numbers(self) -> Iterator[int]:
        """Yield the number, in the query's result, of each row of the file in turn."""
        if self.picked:
            return _read_picked(self.first_row, self.picked)
        missing = frozenset(self.gaps)
        return itertools.islice((row for row in itertools.count(self.first_row) if row not in missing), self.rows)


def pick(numbers: Sequence[int]) -> str:
    """Write ascending row numbers in little room, whatever lies between them: a bit for each row from the first on."""
    bits = bytearray((numbers[-1] - numbers[0]) // 8 + 1)
    for number in numbers:
        place = number - numbers[0]
        bits[place >> 3] |= 1 << (place & 7)
    return base64.b64encode(zlib.compress(bits, 9)).decode()


def _read_picked(first_row: int, picked: str) -> Iterator[int]:
    for at, byte in enumerate(zlib.decompress(base64.b64decode(picked))):
        yield from (first_row + (at << 3) + bit for bit in range(8) if byte >> bit & 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpoolManifest:
    """What a complete spool holds: ``rows`` were read; ``rejected`` of them are in no batch, but kept with a reason.

    ``format`` is how the batches are written: ``csv``, ``jsonl`` or ``parquet``. ``note`` is what its owner wanted kept
    with it: JSON values.
    """

    columns: tuple[SpooledColumn, ...]
    batches: tuple[SpooledBatch, ...]
    rows: int
    rejected: int
    format: str
    note: Mapping[str, Any] = field(default_factory=dict)


def _read_batch(stored: Mapping[str, Any]) -> SpooledBatch:
    lists = {name: tuple(stored.get(name, ())) for name in ("gaps", "left_out")}
    return SpooledBatch(**{**stored, **lists})


class Spool:
    """The spool in ``directory``, which need not exist yet and holds nothing else. Every failure is an ExportError.

    What is filled through it carries ``note`` in its manifest, and ``owner`` beside it: words that say whose it is.
    Filling it leaves the last ``keep_free`` bytes of its disk to others, or fails as on a full disk.
    """

    def __init__(
        self,
        directory: Path,
        *,
        owner: Mapping[str, str] | None = None,
        note: Mapping[str, Any] | None = None,
        keep_free: int = 0,
    ) -> None:
        self._directory = directory
        self._owner = dict(owner or {})
        self._note = dict(note or {})
        self._keep_free = keep_free

    @property
    def directory(self) -> Path:
        """Where the spool lies."""
        return self._directory

    def beside(self, what: str) -> "Spool":
        """Return another spool of the same kind, in a directory beside this one that is named after it."""
        directory = self._directory.with_name(f"{self._directory.name}-{what}")
        return Spool(directory, owner=self._owner, keep_free=self._keep_free)

    def noting(self, note: Mapping[str, Any]) -> "Spool":
        """Return this spool, to be filled with ``note`` in its manifest."""
        return Spool(self._directory, owner=self._owner, note=note, keep_free=self._keep_free)

    def seal(self) -> str | None:
        """Return the SHA-256 of the manifest, by which a ledger names this very filling; None unless it is complete.

        Raises internal ``SPOOL_DAMAGED``.
        """
        try:
            return hashlib.sha256(_content(self._directory / _MANIFEST)).hexdigest()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._damaged("the manifest cannot be read") from error

    def mark_effect(self, number: int) -> None:
        """Note that effect ``number``, from 1, is about to happen: something outside, with what the spool holds.

        The number is the length of a file, which the system changes in one step: a write could be half done.
        """
        try:
            descriptor = os.open(self._directory / _SENT_FROM, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.ftruncate(descriptor, number)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise disk_fault(error, self._directory) from error

    @property
    def effects(self) -> int:
        """How many things were done outside, the last perhaps only about to be, with what the spool holds."""
        try:
            return max(1, (self._directory / _SENT_FROM).stat().st_size)  # an earlier version left it empty
        except OSError:
            return 0

    def manifest(self) -> SpoolManifest | None:
        """Return what the spool holds, or None unless it is complete. Raises internal ``SPOOL_DAMAGED``."""
        stored = self._stored()
        if stored is None:
            return None
        try:
            return SpoolManifest(
                columns=tuple(SpooledColumn(**column) for column in stored["columns"]),
                batches=tuple(_read_batch(batch) for batch in stored["batches"]),
                rows=stored["rows"],
                rejected=stored["rejected"],
                format=stored["format"],
                note=stored.get("note", {}),
            )
        except (KeyError, TypeError) as error:
            raise self._damaged("the manifest lacks something") from error

    def begin(self, format: str = "csv") -> "SpoolWriter":  # noqa: A002 - the manifest's own word
        """Start to fill the spool; an incomplete filling, whoever's it was, is thrown away.

        Raises internal ``SPOOL_COMPLETE`` if the spool is complete: what was sent from it must stay provable.
        """
        if (self._directory / _MANIFEST).exists():
            raise internal("SPOOL_COMPLETE", f"The spool {self._directory} is complete: discard it first")
        try:
            make_directory(self._directory)
            for left in self._directory.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            if self._owner:
                (self._directory / _OWNER).write_text(json.dumps(self._owner), encoding="utf-8")
            filling = self._directory / f"{_FILLING}{secrets.token_hex(8)}"
            filling.mkdir(mode=0o700)
            sync_directory(self._directory)
            return SpoolWriter(self._directory, filling, format, note=self._note, keep_free=self._keep_free)
        except OSError as error:
            raise disk_fault(error, self._directory) from error

    def path(self, batch: SpooledBatch) -> Path:
        """Return where the file of ``batch`` lies."""
        return self._directory / batch.file

    def read(self, batch: SpooledBatch) -> bytes:
        """Return the content of ``batch``, checked against its sha256. Raises internal ``SPOOL_DAMAGED``."""
        try:
            content = _content(self.path(batch))
        except OSError as error:
            raise self._damaged(f"{batch.file} cannot be read ({error.strerror})") from error
        if hashlib.sha256(content).hexdigest() != batch.sha256:
            raise self._damaged(f"{batch.file} is not what was written")
        return content

    def verify(self) -> None:
        """Read every batch, a piece at a time, and compare it with its sha256. Raises internal ``SPOOL_DAMAGED``."""
        manifest = self.manifest()
        for batch in manifest.batches if manifest is not None else ():
            try:
                with open_regular(self.path(batch)) as content:
                    found = hashlib.file_digest(content, "sha256").hexdigest()
            except OSError as error:
                raise self._damaged(f"{batch.file} cannot be read ({error.strerror})") from error
            if found != batch.sha256:
                raise self._damaged(f"{batch.file} is not what was written")

    def rejected(self) -> Iterator[RejectedRow]:
        """Yield, in order of their numbers, the rows that could not be written for the target."""
        stored = self._stored()
        if stored is None or not stored["rejected"]:
            return
        try:
            with (self._directory / stored["rejected_file"]).open(encoding="utf-8") as lines:
                for line in lines:
                    yield RejectedRow(**json.loads(line))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self._damaged("the rejected rows cannot be read") from error

    def rejected_after(self, number: int) -> Iterator[list[RejectedRow]]:
        """Yield those of them with larger numbers, some at a time: up to 1,000 and about 4,000,000 characters."""
        some: list[RejectedRow] = []
        room = _SOME_CHARACTERS
        for row in self.rejected():
            if row.number <= number:
                continue
            some.append(row)
            room -= sum(len(value or "") for value in row.values.values())
            if room <= 0 or len(some) == _SOME_ROWS:
                yield some
                some, room = [], _SOME_CHARACTERS
        if some:
            yield some

    def values(self, batch: SpooledBatch, wanted: Collection[int]) -> Iterator[tuple[int, Mapping[str, str | None]]]:
        """Yield (row number, values as sent by column) of the ``wanted`` row numbers of a CSV batch, in order.

        An empty cell, which tells Salesforce nothing, is None, as are those of a column that is left out of the batch;
        ``#N/A`` stays what it is.
        """
        chosen = frozenset(wanted)
        if not chosen:
            return
        names = self._names() if batch.left_out else None
        with io.TextIOWrapper(io.BytesIO(self.read(batch)), encoding="utf-8", newline="") as text:
            records = csv.reader(text, strict=True)
            header = next(records)
            for row, record in zip(batch.row_numbers(), records, strict=True):
                if row in chosen:
                    cells = {name: cell or None for name, cell in zip(header, record, strict=True)}
                    yield row, cells if names is None else {name: cells.get(name) for name in names}

    def _names(self) -> list[str]:
        stored = self._stored()
        if stored is None:
            raise self._damaged("the manifest is gone")
        return [column["name"] for column in stored["columns"]]

    def discard(self) -> None:
        """Remove the spool with all it holds; none there is fine."""
        try:
            (self._directory / _MANIFEST).unlink(missing_ok=True)  # first, so that a rest is never taken for complete
            shutil.rmtree(self._directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_fault(error, self._directory) from error

    def abandon(self) -> bool:
        """Remove an incomplete filling, whoever's it is; its writer, if it lives, fails. False if there is none."""
        if (self._directory / _MANIFEST).exists():
            return False
        found = list(self._directory.glob(f"{_FILLING}*"))
        for filling in found:
            shutil.rmtree(filling, ignore_errors=True)
        return bool(found)

    def _stored(self) -> dict[str, Any] | None:
        try:
            stored = json.loads(_content(self._directory / _MANIFEST))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._damaged("the manifest cannot be read") from error
        if not isinstance(stored, dict) or stored.get("version") != _VERSION:
            raise self._damaged("the manifest is of another version")
        return stored

    def _damaged(self, what: str) -> ExportError:
        return internal("SPOOL_DAMAGED", f"The spool {self._directory} is damaged: {what}")


def _content(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()


class SpoolFile:
    """One file of a spool while it is written."""

    def __init__(self, path: Path, *, keep_free: int = 0) -> None:
        self._path = path
        self._keep_free = keep_free
        self._descriptor = create_file(path)
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._closed = False

    def write(self, content: bytes | memoryview) -> None:
        """Write all of ``content``. Disk faults are ExportErrors."""
        try:
            if self._keep_free:
                check_room(self._descriptor, memoryview(content).nbytes, keep_free=self._keep_free)
            write_all(self._descriptor, content)
        except OSError as error:
            raise disk_fault(error, self._path.parent) from error
        self._hash.update(content)
        self._bytes += memoryview(content).nbytes

    def close(self) -> None:
        """Close the file, complete or not. May be called again."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)

    def finish(self) -> tuple[int, str]:
        """Make the file durable, close it, and return its length in bytes and its sha256."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise disk_fault(error, self._path.parent) from error
        finally:
            self.close()
        return self._bytes, self._hash.hexdigest()


class SpoolWriter:
    """Fills a spool; made by :meth:`Spool.begin`. The spool is complete when :meth:`close` has returned.

    Rows come in the order of their numbers. One writer is used by one thread, as a context manager. One that is left
    before :meth:`close` takes its files away at once: they may have filled the disk on which its failure is to be
    stored. Of one whose process was killed, the next :meth:`Spool.begin` does.
    """

    def __init__(
        self,
        directory: Path,
        filling: Path,
        format: str,  # noqa: A002 - the manifest's own word
        *,
        note: Mapping[str, Any],
        keep_free: int = 0,
    ) -> None:
        self._directory = directory
        self._note = note
        self._filling = filling
        self._format = format
        self._keep_free = keep_free
        self._file: SpoolFile | None = None
        self._is_complete = False
        self._batches: list[SpooledBatch] = []
        self._rejected = 0
        self._rejections: SpoolFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in (self._rejections, self._file):
            if file is not None:
                file.close()
        if not self._is_complete:
            shutil.rmtree(self._filling, ignore_errors=True)

    def add(
        self,
        content: bytes | memoryview,
        *,
        rows: int,
        first_row: int,
        gaps: tuple[int, ...] = (),
        picked: str = "",
        left_out: tuple[str, ...] = (),
    ) -> None:
        """Write one batch durably; the arguments are those of :class:`SpooledBatch`."""
        file = self.create()
        try:
            file.write(content)
        except BaseException:
            file.close()
            raise
        self.settle(file, rows=rows, first_row=first_row, gaps=gaps, picked=picked, left_out=left_out)

    def create(self) -> SpoolFile:
        """Open the next batch's file, for content too large for one piece of memory; :meth:`settle` ends it."""
        self._file = self._open(f"{len(self._batches) + 1:06d}.{self._format}")
        return self._file

    def settle(
        self,
        file: SpoolFile,
        *,
        rows: int,
        first_row: int,
        gaps: tuple[int, ...] = (),
        picked: str = "",
        left_out: tuple[str, ...] = (),
    ) -> None:
        """Make the batch of the last :meth:`create` durable and enter it."""
        length, sha256 = file.finish()
        number = len(self._batches) + 1
        self._batches.append(
            SpooledBatch(
                number=number,
                file=f"{self._filling.name}/{number:06d}.{self._format}",
                rows=rows,
                bytes=length,
                sha256=sha256,
                first_row=first_row,
                gaps=gaps,
                picked=picked,
                left_out=left_out,
            )
        )

    def reject(self, rows: Iterable[RejectedRow]) -> None:
        """Keep rows that cannot be written for the target."""
        lines = [json.dumps(asdict(row)) + "\n" for row in rows]
        if not lines:
            return
        if self._rejections is None:
            self._rejections = self._open(_REJECTED)
        self._rejections.write("".join(lines).encode())
        self._rejected += len(lines)

    def close(self, columns: Iterable[SpooledColumn], rows: int) -> SpoolManifest:
        """Make the spool complete: ``rows`` were read, and each is in a batch or was rejected.

        Raises internal ``SPOOL_COUNT`` if that is not so.
        """
        manifest = SpoolManifest(
            columns=tuple(columns),
            batches=tuple(self._batches),
            rows=rows,
            rejected=self._rejected,
            format=self._format,
            note=self._note,
        )
        written = sum(batch.rows for batch in self._batches)
        if written + self._rejected != rows:
            raise internal("SPOOL_COUNT", f"{rows} rows read, but {written} written and {self._rejected} rejected")
        if self._rejections is not None:
            self._rejections.finish()
        stored = {
            "version": _VERSION,
            "rejected_file": f"{self._filling.name}/{_REJECTED}",
            **asdict(manifest),
        }
        file = self._open(_MANIFEST)
        file.write(json.dumps(stored).encode())
        file.finish()
        try:
            sync_directory(self._filling)
            (self._filling / _MANIFEST).rename(self._directory / _MANIFEST)
            self._is_complete = True
            sync_directory(self._directory)
        except OSError as error:
            raise disk_fault(error, self._directory) from error
        return manifest

    def _open(self, name: str) -> SpoolFile:
        try:
            return SpoolFile(self._filling / name, keep_free=self._keep_free)
        except OSError as error:
            raise disk_fault(error, self._directory) from error

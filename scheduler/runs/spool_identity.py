"""Whose a spool is, and where it can be read: a spool names its state database and run, and the ledger names its spool.

A run's spool directory is called after the run's number and a digest of all that tells this run from any other, of this
or another state database: numbers come again when a state database is removed, replaced or put back from a backup. From
the first entry of its ledger on, a run is bound to the spool that this entry names; nothing else is sent for it.
"""

import hashlib
import json
import re
import secrets
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from exporter.failures import ExportError, internal
from exporter.host.durable_files import create_file, disk_fault, make_directory, sync_directory, write_all
from exporter.ledger import Mark
from exporter.spool.spool import Spool
from scheduler.nodes.health import PLACES
from scheduler.observability.logging_setup import get_logger
from storage import key_values
from storage.database import Database, Session
from storage.runs import runs
from storage.runs.ledger import LedgerRow
from storage.runs.runs import StoredRun
from storage.values import Node

BOUND = "spool.bound"
"""The step of a ledger's first entry, which names the run's spool."""
GONE = "SPOOL_GONE"
LEDGER_GONE = "LEDGER_GONE"
_LOST = "lost-"
_NAME = re.compile(r"run-(?P<run>[0-9]{1,18})(?:-(?P<digest>[0-9a-f]{12}))?(?P<beside>-.+)?")
_PLACE = "spool_place:"
_PLACE_FILE = ".place"

log = get_logger("schedctl.spools")


@dataclass(frozen=True, kw_only=True, slots=True)
class Directory:
    """A directory of some run: its spool, or one beside that (``is_beside``).

    ``spool`` is the name of the spool's directory. ``is_old``: it was written before names told runs apart.
    """

    path: Path
    run: int
    spool: str
    is_old: bool
    is_beside: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """What a ledger's first entry says of the run's spool: its directory's name, its seal, and what it held.

    ``scope`` is what the rows of a job with ``changes`` were compared with; None for other jobs. ``at`` is the spool
    directory that it lay in; empty if an earlier version did not say.
    """

    spool: str
    seal: str
    rows: int
    rejected: int
    unchanged: int
    batches: int
    scope: str | None
    at: str = ""


def directory_of(root: Path, name: str, binding: Binding | None) -> Path:
    """Return where the spool called ``name`` is: in ``root``, or in the directory that the config file named before.

    Its seal proves that it is the run's.
    """
    begun = Path(binding.at or root) / name if binding is not None else root / name
    return begun if begun.is_dir() and not (root / name).exists() else root / name


def owner_of(run: StoredRun, database_id: str, address: str) -> dict[str, str]:
    """Return in words whose a run's spool is; ``address`` of the state database is for a reader, and proves nothing."""
    return {
        "state": database_id,
        "state_at": address,
        "job": run.job,
        "kind": run.kind,
        "slot": run.scheduled_time.isoformat(),
        "repeat": str(run.repeat),
        "run": str(run.id),
        "created_at": run.created_at.isoformat(),
    }


def directory_name(owner: Mapping[str, str]) -> str:
    """Return what the spool directory of this owner is called."""
    identity = [value for key, value in sorted(owner.items()) if key != "state_at"]
    return f"run-{owner['run']}-{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]}"


def bound_row(spool: Spool, now: datetime) -> LedgerRow:
    """Return the entry that binds a run to its complete spool."""
    manifest, seal = spool.manifest(), spool.seal()
    if manifest is None or seal is None:
        raise internal(GONE, f"the spool {spool.directory} went away before anything of it was sent")
    changes = manifest.note.get("changes", {})
    data = {
        "spool": spool.directory.name,
        "seal": seal,
        "rows": manifest.rows,
        "rejected": manifest.rejected,
        "unchanged": changes.get("counts", {}).get("unchanged", 0),
        "batches": len(manifest.batches),
        "scope": changes.get("scope"),
        "at": str(spool.directory.parent.absolute()),
    }
    return LedgerRow(step=BOUND, mark=Mark.DONE.value, at=now, data=data)


def binding_of(rows: Sequence[LedgerRow]) -> Binding | None:
    """Return what a ledger is bound to; None for an empty one, and for one begun by a version that did not say."""
    return Binding(**rows[0].data) if rows and rows[0].step == BOUND else None


def has_acted(rows: Sequence[LedgerRow]) -> bool:
    """Whether a ledger tells of an effect outside, done or about to be done: facts alone change nothing there."""
    return effects(rows) > 0


def effects(rows: Sequence[LedgerRow]) -> int:
    """Count the effects outside that a ledger tells of, done or about to be done."""
    return sum(row.mark == Mark.INTENDED.value for row in rows)


def directories(root: Path, run: int | None = None) -> Iterator[Directory]:
    """Yield the directories of runs, or of this one, in a spool directory; whatever else is there is left out."""
    found = root.glob("run-*" if run is None else f"run-{run}*")
    with suppress(OSError):  # not made yet
        for path in sorted(found):
            match = _NAME.fullmatch(path.name)
            if match is None or (run is not None and int(match["run"]) != run):
                continue
            if path.is_symlink() or not path.is_dir():
                continue
            yield Directory(
                path=path,
                run=int(match["run"]),
                spool=path.name.removesuffix(match["beside"] or ""),
                is_old=match["digest"] is None,
                is_beside=match["beside"] is not None,
            )


def lost(root: Path) -> Iterator[Path]:
    """Yield the directories that were set aside."""
    yield from (path for path in sorted(root.glob(f"{_LOST}*")) if path.is_dir() and not path.is_symlink())


def set_aside(directory: Path, reason: str) -> Path | None:
    """Rename a directory that is no run's of this state database, so that no run takes it for its own.

    Returns the new path; None, which is logged, where the directory cannot be renamed.
    """
    aside = directory.with_name(f"{_LOST}{directory.name}-{secrets.token_hex(4)}")
    try:
        directory.rename(aside)
    except FileNotFoundError:
        return None  # another process was faster
    except OSError as error:
        log.error("spool.not_set_aside", directory=str(directory), message=error.strerror)  # noqa: TRY400 - says it all
        return None
    log.warning("spool.set_aside", directory=str(aside), message=reason)
    return aside


def origin(directory: Path, database_id: str, address: str) -> Literal["ours", "theirs", "gone", "unknown"]:
    """Say whose a spool directory is.

    ``ours``: of this state database. ``theirs``: of another one, as far as can be told from here. ``gone``: of a state
    database that is no more, or was where this one is. ``unknown``: it does not say.
    """
    owner = owner_in(directory)
    if owner is None:
        return "unknown"
    if owner.get("state") == database_id:
        return "ours"
    elsewhere = owner.get("state_at", "")
    file = elsewhere.removeprefix("sqlite:///") if elsewhere.startswith("sqlite:///") else None
    if elsewhere == address or (file is not None and not Path(file).exists()):
        return "gone"
    return "theirs"


def owner_in(directory: Path) -> dict[str, str] | None:
    """Return whose a spool directory says it is; None if it does not."""
    try:
        found = json.loads((directory / "owner.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def attach(database: Database, run: StoredRun, root: Path, rows: Sequence[LedgerRow], spool: Spool) -> None:
    """See that a run about to be performed finds its own spool or none.

    Directories of its number, or of its slot, that are not its own are set aside. Raises internal ``LEDGER_GONE`` if a
    spool shows that rows of this slot were sent, or were about to be, of which this state database knows nothing: one
    that was restored from a backup.
    """
    with database.read() as session:
        database_id = key_values.database_id(session)
    mine = {"state": database_id, "job": run.job, "kind": run.kind, "slot": run.scheduled_time.isoformat()}
    mine["repeat"] = str(run.repeat)
    numbered = directories(root, run.id) if rows else directories(root)
    for found in numbered:
        if found.spool == spool.directory.name:
            continue
        of_slot = not rows and mine.items() <= (owner_in(root / found.spool) or {}).items()
        of_number = found.run == run.id and origin(root / found.spool, database_id, database.name) != "theirs"
        if of_slot or of_number:
            set_aside(found.path, f"it is not of run {run.id} of {run.job} in this state database")
    for directory in (spool.directory, *(() if rows else lost(root))):
        if mine.items() <= (owner_in(directory) or {}).items():
            check_ledger(Spool(directory), rows, run.id)


def check_ledger(spool: Spool, rows: Sequence[LedgerRow], run_id: int) -> None:
    """Raise internal ``LEDGER_GONE`` if more was done with a spool than the ledger of its run tells of."""
    known, sent = effects(rows), spool.effects
    if sent > known:
        less = f"only {known:,} of {sent:,} steps" if known else "nothing"
        raise internal(
            LEDGER_GONE,
            f"{spool.directory} shows that rows of this slot were sent, and this state database knows {less} of it, as "
            "one that was restored from a backup: nothing more is sent. Compare the target's records with the query's "
            f"rows; then remove {spool.directory}: schedctl retry {run_id} --again sends all rows of the slot",
        )


def check_bound(spool: Spool, rows: Sequence[LedgerRow]) -> None:
    """Raise internal ``SPOOL_GONE`` unless ``spool`` is complete and the one that the ledger is bound to."""
    binding = binding_of(rows)
    try:
        seal = spool.seal()
        is_whole = spool.manifest() is not None
    except ExportError as error:
        raise internal(GONE, error.message) from error
    if seal is None or not is_whole:
        raise internal(GONE, f"{spool.directory}, the spool that this run sends from, is missing")
    if binding is not None and seal != binding.seal:
        raise internal(GONE, f"{spool.directory} is not the spool that this run began to send from")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A spool directory as other hosts know it: a random id that lies in it, and where it was last used from.

    ``before`` is every other host and path by which a process used it.
    """

    id: str
    host: str
    path: str
    before: frozenset[tuple[str, str]] = frozenset()

    def __str__(self) -> str:
        """Say where it is."""
        return f"{self.path} on {self.host}"


def place_of(root: Path) -> Place:
    """Return the place that a spool directory is, giving it an id if it has none. Raises ExportError.

    Hosts that share the directory find the same id in it, and one id only: it is linked into place as a whole.
    """
    file = root / _PLACE_FILE
    try:
        make_directory(root)
        if not file.exists():
            made = root / f"{_PLACE_FILE}-{secrets.token_hex(8)}"
            with open(create_file(made), "wb") as out:  # noqa: PTH123 - a descriptor, not a path
                write_all(out.fileno(), secrets.token_hex(16).encode())
            with suppress(FileExistsError):
                file.hardlink_to(made)
            made.unlink()
            sync_directory(root)
        found = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise disk_fault(error, root) from error
    return Place(id=found, host=socket.gethostname(), path=str(root.absolute()))


def find_place(database: Database, root: Path) -> tuple[str | None, frozenset[str] | None]:
    """Return the id of a spool directory as a place, and the ids of all places whose begun runs can go on here.

    Both are None over SQLite, where there is one host: what is not here is gone. Over PostgreSQL the places are this
    one, and those that only this host used, at the same path: the directory was emptied or replaced, so that what was
    in them is gone, and the runs that need it can only end here. One that another host used, too, is shared: here it
    may only not be mounted. Raises ExportError where the directory cannot be used.
    """
    if database.kind == "sqlite":
        return None, None
    place = place_of(root)
    with database.write() as session:
        known = known_places(session)
        here = (place.host, place.path)
        last = known.get(place.id, place)
        before = sorted({*last.before, (last.host, last.path)} - {here})
        stored = {"host": place.host, "path": place.path, "before": before}
        key_values.put(session, f"{_PLACE}{place.id}", json.dumps(stored))
    same = {each.id for each in known.values() if {(each.host, each.path), *each.before} == {here}}
    return place.id, frozenset({place.id} | same)


def known_places(session: Session) -> dict[str, Place]:
    """Return every place that a process of this state database has used, by its id."""
    stored = {key.removeprefix(_PLACE): at for key, at in key_values.beginning_with(session, _PLACE).items()}
    found: dict[str, Place] = {}
    for number, text in stored.items():
        at = json.loads(text)
        before = frozenset((host, path) for host, path in at.get("before", ()))
        found[number] = Place(id=number, host=at["host"], path=at["path"], before=before)
    return found


def places_of(nodes: Iterable[Node]) -> frozenset[str]:
    """Return the ids of the spool directories that these nodes can read."""
    return frozenset(place for node in nodes for place in node.info.get(PLACES, ()))


def away(session: Session, places: Collection[str], *, run_id: int | None = None) -> list[str]:
    """Say of each begun run that waits, or of one, if its spool is in none of ``places``, and what to do."""
    if session.get_bind().dialect.name == "sqlite":
        return []
    known = known_places(session)
    return [
        f"run {run.id} of {run.job} has begun to send from its spool in "
        f"{known.get(run.spool_place or '', 'an unknown place')}, which no living daemon can read: "
        f"start one there, or schedctl runs abandon {run.id}"
        for run in runs.away_runs(session)
        if run.spool_place not in places and run_id in {None, run.id}
    ]
